"""ARC: recursive refinement inside a convolution.

Lin et al., "Adaptive Recursive Circle Framework for Fine-grained Action Recognition", section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.layers import RelayCell
from videozoo.surgery import replace_modules, stage_modules

__all__ = ["ARC", "Aggregation", "ArcConv2d", "AttentionLayer", "Interaction", "LayerKind"]

Interaction = Literal["additive", "multiplicative"]
Aggregation = Literal["S+T", "S", "T", "ST"]
AttentionLayer = Literal["fc", "gru"]
Memory = Literal["keep", "recompute"]
LayerKind = Literal["conv2d", "conv3d", "pointwise", "linear"]
_CHOICES = {
    "interaction": ("additive", "multiplicative"),
    "aggregation": ("S+T", "S", "T", "ST"),
    "attention_layer": ("fc", "gru"),
    "memory": ("keep", "recompute"),
}

_KINDS = ("conv2d", "conv3d", "pointwise", "linear")


@dataclass(frozen=True)
class ARC:
    """Let every spatial convolution refine its input with the features that it has made so far.

    Applies to every convolution of the chosen stages that is neither 1x1 nor grouped (section 3.4). The defaults are
    the paper's; the options span its ablations, and ``layers`` goes beyond it. An input that may be negative (not
    behind a ReLU) makes a fresh layer differ from the plain one, since the first thing that is done to it is a ReLU.

    Args:
        num_steps: parts n into which the output channels are cut (Table 5b); 1 leaves the convolution as it is.
        stages: stages to change, 1 to 4, where stage k is the paper's res(k+1) (Table 5c). None: 2, 3 and 4 (res3,
            res4, res5) of a network that tells its stages through ``feature_info``, else every convolution of it.
        embedding, attention, fusion: the three parts of the updater, on or off (Table 5a).
        interaction: ``"additive"`` adds the backward attention; ``"multiplicative"`` gates the state with its sigmoid,
            times two so that an attention of zero leaves the state as it is (the paper gives no formula).
        aggregation: pooling of the attention: over space, over time, their broadcast sum, or both at once (``"ST"``).
        attention_layer: ``"fc"`` is eq. 7; ``"gru"`` feeds each pooled part to a GRU cell whose hidden state is the
            attention (Table 5d).
        layers: which kinds of layers to change: ``"conv2d"``, the paper's; ``"conv3d"``, convolutions over space or
            over space and time of a 3-D network (not those over time alone); ``"pointwise"``, 1x1 convolutions;
            ``"linear"``, linear layers on the tokens of folded frames. The paper names attention as future work.
        memory: in training ``"keep"`` holds every state Z_i for the gradient; ``"recompute"`` holds the layer's input
            alone, as the plain convolution does, and computes the layer once more in the backward pass.
    Raises:
        ValueError: an option has a value that is not listed.
    """

    num_steps: int = 4
    stages: tuple[int, ...] | None = None
    embedding: bool = True
    attention: bool = True
    fusion: bool = True
    interaction: Interaction = "additive"
    aggregation: Aggregation = "S+T"
    attention_layer: AttentionLayer = "fc"
    layers: tuple[LayerKind, ...] = ("conv2d",)
    memory: Memory = "keep"

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"ARC: num_steps is {self.num_steps}; need 1 or more (the paper uses 4).")
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                raise ValueError(f"ARC: {option} is {getattr(self, option)!r}; choose one of {', '.join(choices)}.")
        if not (self.embedding or self.attention or self.fusion):
            raise ValueError("ARC: embedding, attention and fusion are all off; leave at least one on.")
        if isinstance(self.layers, str) or not self.layers or not set(self.layers) <= set(_KINDS):
            raise ValueError(f"ARC: layers is {self.layers!r}; pass a tuple of some of {', '.join(_KINDS)}.")
        object.__setattr__(self, "layers", tuple(self.layers))  # a list from JSON is welcome
        if self.stages is not None:
            object.__setattr__(self, "stages", tuple(self.stages))

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the convolutions of ``net`` in place.

        Args:
            net: any network on folded frames (B*S, C, H, W), or a 3-D one on clips.
            num_segments: time steps S.
        Returns:
            the names of the layers that were changed.
        Raises:
            ValueError: nothing could be changed; says how many layers there are and why each kind was left.
        """
        found = {name: kind for name, layer in self._layers(net) if (kind := _kind(layer)) is not None}
        eligible = {name for name, kind in found.items() if kind in self.layers and _groups(net, name) == 1}
        if not eligible:
            raise ValueError(f"ARC: nothing to change in {type(net).__name__}: {self._why_not(net, found)}")
        if getattr(net, "is_3d", False) and any(found[name] == "linear" for name in eligible):
            raise ValueError(
                f"ARC: layers={self.layers} in {type(net).__name__}, a 3-D network: the input of a linear layer does "
                "not tell its frames there; leave 'linear' out."
            )
        return replace_modules(
            net, lambda _, name: name in eligible, lambda layer, name: self._arc_layer(layer, name, num_segments)
        )

    def _why_not(self, net: nn.Module, found: Mapping[str, str]) -> str:
        convs = {name: kind for name, kind in found.items() if kind != "linear"}
        grouped = sum(kind != "pointwise" and _groups(net, name) > 1 for name, kind in convs.items())
        points = sum(kind == "pointwise" for kind in convs.values())
        text = (
            f"of {len(convs)} convolutions in {_stages_text(self.stages)}, {points} are 1x1 and {grouped} are grouped"
        )
        clips = sum(kind == "conv3d" for kind in convs.values())
        if clips > grouped and "conv3d" not in self.layers:
            return f"{text}, {clips} are 3-D, which ARC changes by choice only; pass layers=('conv3d',)."
        return (
            f"{text}, which ARC cannot refine (section 3.4); use a backbone with plain spatial convolutions, other "
            f"stages, or other layers than {self.layers}."
        )

    def _arc_layer(self, layer: nn.Module, name: str, num_segments: int) -> nn.Module:
        make: type[ArcConv2d] | type[ArcConv3d] | type[ArcLinear] = ArcConv2d
        if isinstance(layer, nn.Conv3d | nn.Linear):
            make = ArcConv3d if isinstance(layer, nn.Conv3d) else ArcLinear
        try:
            return make.from_layer(layer, num_segments, self)
        except ValueError as error:
            raise ValueError(f"ARC: {name}: {error}") from error

    def _layers(self, net: nn.Module) -> list[tuple[str, nn.Module]]:
        # The cells of DNR are no part of the network's own path.
        cells = tuple(f"{name}." for name, module in net.named_modules() if isinstance(module, RelayCell))
        layers = [(name, module) for name, module in net.named_modules() if name and not name.startswith(cells)]
        stages = stage_modules(net)
        if stages is None:
            if self.stages is not None:
                raise ValueError(
                    f"ARC: stages={self.stages}, but {type(net).__name__} does not tell its stages (no feature_info); "
                    "pass stages=None to change every convolution."
                )
            return layers
        wanted = self.stages if self.stages is not None else tuple(range(2, len(stages) + 1))
        unknown = [stage for stage in wanted if not 1 <= stage <= len(stages)]
        if unknown:
            raise ValueError(
                f"ARC: stages {unknown} do not exist; {type(net).__name__} has stages 1 to {len(stages)} "
                "(stage k is the paper's res(k+1))."
            )
        prefixes = tuple(f"{module}." for stage in wanted for module in stages[stage - 1])
        return [(name, layer) for name, layer in layers if name.startswith(prefixes)]


def _kind(layer: nn.Module) -> LayerKind | None:
    """Which kind a layer is of; None where ARC has no form for it, such as a convolution over time alone."""
    if isinstance(layer, nn.Linear):
        return "linear"
    if not isinstance(layer, nn.Conv2d | nn.Conv3d):
        return None
    if set(layer.kernel_size) == {1}:
        return "pointwise"
    if isinstance(layer, nn.Conv2d):
        return "conv2d"
    return "conv3d" if set(layer.kernel_size[1:]) != {1} else None


def _groups(net: nn.Module, name: str) -> int:
    return int(getattr(net.get_submodule(name), "groups", 1))


def _stages_text(stages: tuple[int, ...] | None) -> str:
    return "the last stages" if stages is None else f"stages {stages}"
