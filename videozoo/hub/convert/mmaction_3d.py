"""3-D models of MMAction2, 0.x and 1.x: SlowFast, SlowOnly, I3D, R(2+1)D."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from videozoo.hub.convert.base import Alternative, Converted, ConvertError, Rules, compose, depth_of, rename_all
from videozoo.hub.convert.pathways import EVERY_SECOND, I3D_KERNELS, SLOW_KERNELS, Kernels, read_pathway

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_HEAD = (r"cls_head\.fc_cls", "fc")
_DEPTHS: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101}
# Temporal kernels of the stem and of the stages, and where non-local blocks may stand.
_SINGLE: dict[str, tuple[int, Kernels, frozenset[tuple[int, int]]]] = {
    "slowonly": (1, SLOW_KERNELS, frozenset({(2, 0), (2, 2), (3, 0), (3, 2), (3, 4)})),
    "i3d": (5, I3D_KERNELS, EVERY_SECOND),
    "heavy": (5, ((3,), (3,), (3,), (3,)), frozenset()),
}


def _block_rules(old: str, new: str) -> Rules:
    """Return the rules for a stage's blocks: ``old`` and ``new`` have one group, the stage's number."""
    return [
        (rf"{old}\.(\d+)\.conv(\d)\.(conv|bn)", rf"{new}.\2.\4\3"),
        (rf"{old}\.(\d+)\.downsample\.conv", rf"{new}.\2.downsample.0"),
        (rf"{old}\.(\d+)\.downsample\.bn", rf"{new}.\2.downsample.1"),
        (rf"{old}\.(\d+)\.non_local_block\.(g|theta|phi)(?:\.0)?\.conv", rf"{new}.\2.non_local.\3"),
        (rf"{old}\.(\d+)\.non_local_block\.conv_out\.conv", rf"{new}.\2.non_local.out"),
        (rf"{old}\.(\d+)\.non_local_block\.conv_out\.bn", rf"{new}.\2.non_local.bn"),
    ]


_BARE = r"(?:conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))"  # as TPN's authors have them
_PLAIN = [
    (rf"backbone\.({_BARE})", r"backbone.\1"),
    (r"backbone\.conv1\.conv", "backbone.conv1"),
    (r"backbone\.conv1\.bn", "backbone.bn1"),
    *_block_rules(r"backbone\.layer(\d)", r"backbone.layer\1"),
    _HEAD,
]
_HALVES = {"conv_s": "spatial", "bn_s": "bn", "conv_t": "temporal"}
_FACTORISED = [
    *(
        rule
        for old, new in _HALVES.items()
        for rule in (
            (rf"backbone\.(conv1|layer\d\.\d+\.conv\d)\.conv\.{old}", rf"backbone.\1.{new}"),
            (rf"backbone\.(layer\d\.\d+\.downsample)\.conv\.{old}", rf"backbone.\1.0.{new}"),
        )
    ),
    *_PLAIN,
]
_SLOWFAST = [
    *(
        rule
        for path in ("slow", "fast")
        for rule in (
            (rf"backbone\.{path}_path\.conv1\.(conv|bn)", rf"backbone.stem.{path}.\1"),
            *_block_rules(rf"backbone\.{path}_path\.layer(\d)", rf"backbone.layer\1.{path}"),
        )
    ),
    (r"backbone\.slow_path\.conv1_lateral\.(conv|bn)", r"backbone.layer1.lateral.\1"),
    *((rf"backbone\.slow_path\.layer{i}_lateral\.(conv|bn)", rf"backbone.layer{i + 1}.lateral.\1") for i in (1, 2, 3)),
    _HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of these models."""
    weight = state.get("backbone.conv1.conv.weight")
    return (
        "backbone.slow_path.conv1.conv.weight" in state
        or "backbone.conv1.conv.conv_s.weight" in state
        or (weight is not None and weight.ndim == 5 and weight.shape[2] in (1, 5))
    )


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Depth and lateral kernel are read from the keys and shapes. How many frames the slow pathway leaves out is not in
    them: a lateral kernel of 5 means 4x16, one of 7 means 8x8, as in every configuration that is published. Models of
    one pathway take any number of frames. 8 is assumed, and 32 for I3D.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    if "backbone.slow_path.conv1.conv.weight" in state:
        new, dropped = rename_all(state, _SLOWFAST, SOURCE)
        return compose(new, dropped, _slowfast_name(new), num_frames=32)
    is_factorized = "backbone.conv1.conv.conv_s.weight" in state
    new, dropped = rename_all(state, _FACTORISED if is_factorized else _PLAIN, SOURCE)
    if not is_factorized:
        return _convert_single(new, dropped)
    if (depth := _depth(new)) != 34:
        raise ConvertError(f"{SOURCE}: R(2+1)D of depth {depth}; only 34 is published and registered.")
    return compose(new, dropped, "r2plus1d_resnet34")


def _convert_single(new: dict[str, Tensor], dropped: tuple[str, ...]) -> Converted:
    """Convert SlowOnly or I3D. How non-local blocks compare positions is not in the keys, unless nothing is learned."""
    depth, found = _depth(new), read_pathway(new)
    fits = [
        kind
        for kind, (stem, kernels, places) in _SINGLE.items()
        if found.has_kernels(stem, kernels) and found.non_local in (frozenset(), places)
    ]
    if not fits or (depth != 50 and (fits != ["slowonly"] or found.non_local)):
        raise ConvertError(f"{SOURCE}: ResNet-{depth} has {found}; known are {', '.join(_SINGLE)}, as published.")
    kind = fits[0]
    if kind == "slowonly":
        return compose(new, dropped, f"slowonly_resnet{depth}{'_nl_mm' if found.non_local else ''}")
    if not found.non_local:
        return compose(new, dropped, f"i3d_resnet50{'_heavy' if kind == 'heavy' else ''}_mm", num_frames=32)
    if not any(".theta." in key for key in new):
        return compose(new, dropped, "i3d_resnet50_nl_gaussian_mm", num_frames=32)
    other = Alternative({"backbone": "i3d_resnet50_nl_embedded_gaussian_mm"}, "embedded_gaussian")
    converted = compose(new, dropped, "i3d_resnet50_nl_dot_product_mm", num_frames=32)
    return replace(converted, alternatives=(other,))


def _depth(new: Mapping[str, Tensor], path: str = "") -> int:
    depth = depth_of(new, _DEPTHS, SOURCE, path)
    is_plain = depth == 50 and f"backbone.layer1.{path}0.bn3.weight" not in new
    return 34 if is_plain else depth


def _slowfast_name(new: Mapping[str, Tensor]) -> str:
    slow, fast = (_depth(new, f"{path}.") for path in ("slow", "fast"))
    lateral = new.get("backbone.layer1.lateral.conv.weight")
    kernel = 0 if lateral is None else lateral.shape[2]
    rate = {5: "4x16", 7: "8x8"}.get(kernel)
    if rate is None or "backbone.layer1.lateral.bn.weight" in new:
        raise ConvertError(
            f"{SOURCE}: lateral kernel {kernel} or lateral norms; need kernel 5 or 7 and no norms, as it publishes."
        )
    depth = f"resnet{slow}" if slow == fast else f"resnet{slow}_resnet{fast}"
    return f"slowfast_{depth}_{rate}_mm"
