"""Functions that select the layers that ARC changes and explain why none was found."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn

from videozoo.augment.arc_layers import ArcLinear
from videozoo.augment.arc_options import LayerKind
from videozoo.layers import RelayCell
from videozoo.surgery import PreConv2d, reparameterizer, stage_modules
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["Sites", "find_sites", "why_none"]

_FRAME_CHANNELS = 4  # gray, color, or color with depth. Layers behind a stem have more channels


@dataclass(frozen=True)
class Sites:
    """The layers that ARC changes, by name, and the counts of all inspected layers by kind."""

    layers: dict[str, nn.Module]
    counts: Counter[str]


def find_sites(net: nn.Module, stages: tuple[int, ...] | None, kinds: tuple[LayerKind, ...]) -> Sites:
    """Return all layers of the given kinds and stages, except grouped convolutions and the stem.

    Args:
        net: any model.
        stages: numbers from 1. None: stages 2 and up, or the whole model if it does not list its stages.
        kinds: kinds of layers.
    Raises:
        ValueError: no such stage, or a layer whose block merges weights for inference.
    """
    stems = _stems(net)
    layers: dict[str, nn.Module] = {}
    counts: Counter[str] = Counter()
    for name, layer in _in_stages(net, stages):
        kind = _kind(layer)
        if kind is None:
            continue
        groups = getattr(layer, "groups", 1)
        why = "pointwise" if kind == "pointwise" else "grouped" if groups > 1 else "stem" if name in stems else kind
        counts[why] += 1
        if kind in kinds and groups == 1 and name not in stems:
            layers[name] = layer
    for name in layers:
        merging = reparameterizer(net, name)
        if merging is not None:
            raise ValueError(f"ARC: {name} {merging}")
    return Sites(layers, counts)


def why_none(sites: Sites, stages: tuple[int, ...] | None, kinds: tuple[LayerKind, ...]) -> str:
    """Return the reason for an error message why a model has no layer to change."""
    counts = sites.counts
    convs = sum(n for kind, n in counts.items() if kind != "linear")
    where = "the stages from 2 on" if stages is None else f"stages {stages}"
    if not convs:
        return (
            f"there is no convolution in {where} (a transformer?), and ARC is for those; use a convolutional backbone."
        )
    text = f"of {convs} convolutions in {where}, {counts['pointwise']} are 1x1 and {counts['grouped']} are grouped"
    if counts["stem"]:
        text += f", and {counts['stem']} see the model's input (the stem) or an attention's maps"
    if counts["conv3d"] and "conv3d" not in kinds:
        return f"{text}, {counts['conv3d']} are 3-D, which ARC changes by choice only; pass layers=('conv3d',)."
    return (
        f"{text}, which ARC cannot refine (section 3.4); use a backbone with plain spatial convolutions, other stages, "
        f"or other layers than {kinds}."
    )


def _kind(layer: nn.Module) -> LayerKind | None:
    """Return the kind of a layer. None: ARC does not support it (for example a convolution over time only)."""
    if isinstance(layer, nn.Linear | ArcLinear):
        return "linear"
    if not isinstance(layer, nn.Conv2d | nn.Conv3d | PreConv2d | PreConv3d):
        return None
    size: Any = layer.kernel_size
    if set(size) == {1}:
        return "pointwise"
    if len(size) == 2:
        return "conv2d"
    return "conv3d" if set(size[1:]) != {1} else None


def _stems(net: nn.Module) -> set[str]:
    """Return the names of all convolutions with at most as many input channels as the first one on frames.

    These are the stem, and convolutions on the maps of an attention. Those that make one map belong to an attention
    too. Without a convolution on frames: the first one.
    """
    convs: list[tuple[str, Any]] = [(n, m) for n, m in net.named_modules() if _kind(m) not in (None, "linear")]
    on_frames = (m for _, m in convs if m.in_channels <= _FRAME_CHANNELS and m.out_channels > m.in_channels)
    stem = next(on_frames, None)
    if stem is None:  # optical flow, or a part of a model
        return {n for n, _ in convs[:1]}
    return {n for n, m in convs if m.in_channels <= stem.in_channels or m.out_channels == 1}


def _in_stages(net: nn.Module, stages: tuple[int, ...] | None) -> list[tuple[str, nn.Module]]:
    # The cells of DNR do not belong to the backbone.
    cells = tuple(f"{name}." for name, module in net.named_modules() if isinstance(module, RelayCell))
    layers = [(name, module) for name, module in net.named_modules() if name and not name.startswith(cells)]
    own = stage_modules(net)
    if own is None:
        if stages is not None:
            raise ValueError(
                f"ARC: stages={stages}, but neither {type(net).__name__} nor a module in it gives its stages (timm's "
                "feature_info, or layer1 to layer4); pass stages=None to change every convolution behind the stem."
            )
        return layers
    wanted = stages if stages is not None else tuple(range(2, len(own) + 1))
    unknown = [stage for stage in wanted if not 1 <= stage <= len(own)]
    if unknown:
        raise ValueError(
            f"ARC: stages {unknown} do not exist; {type(net).__name__} has stages 1 to {len(own)} (stage k is the "
            "paper's res(k+1))."
        )
    names = {module for stage in wanted for module in own[stage - 1]}
    prefixes = tuple(f"{name}." for name in names)
    return [(name, layer) for name, layer in layers if name in names or name.startswith(prefixes)]
