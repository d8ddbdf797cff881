"""ARC: recursive refinement inside a convolution.

Lin et al., "Adaptive Recursive Circle Framework for Fine-grained Action Recognition", section 3.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.augment.arc_sites import LayerKind, find_sites, why_none
from videozoo.layers.options import check_count
from videozoo.surgery import replace_modules
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["ARC", "Aggregation", "ArcConv2d", "AttentionLayer", "Interaction", "LayerKind"]

Interaction = Literal["additive", "multiplicative"]
Aggregation = Literal["S+T", "S", "T", "ST"]
AttentionLayer = Literal["fc", "gru"]
Memory = Literal["keep", "recompute"]
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
    the paper's; the options span its ablations, and ``layers`` goes beyond it. A fresh network equals its base
    exactly, also where the input of a convolution may be negative, which the paper does not consider:
    :class:`~videozoo.augment.arc_layer.ArcLayer` says how.

    Args:
        num_steps: parts n into which the output channels are cut (Table 5b); 1 leaves the convolution as it is.
        stages: stages to change, 1 to 4, where stage k is the paper's res(k+1) (Table 5c). None: 2, 3 and 4 (res3,
            res4, res5) of every backbone that gives its stages (timm's ``feature_info``, torchvision's ``layer1`` to
            ``layer4``), be it the network itself or a module in it; else every convolution but those that see the
            network's input.
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
        check_count("ARC", "num_steps", self.num_steps, why="the paper uses 4")
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                raise ValueError(f"ARC: {option} is {getattr(self, option)!r}; choose one of {', '.join(choices)}.")
        for option in ("embedding", "attention", "fusion"):
            if not isinstance(getattr(self, option), bool):
                raise ValueError(f"ARC: {option} is {getattr(self, option)!r}; need True or False.")
        for option in ("interaction", "aggregation", "attention_layer"):
            if not self.attention and getattr(self, option) != _CHOICES[option][0]:
                raise ValueError(
                    f"ARC: {option} is {getattr(self, option)!r}, but has no effect with attention=False; leave it at "
                    f"{_CHOICES[option][0]!r}."
                )
        if not (self.embedding or self.attention or self.fusion):
            raise ValueError("ARC: embedding, attention and fusion are all off; leave at least one on.")
        if isinstance(self.layers, str) or not self.layers or not set(self.layers) <= set(_KINDS):
            raise ValueError(f"ARC: layers is {self.layers!r}; pass a tuple of some of {', '.join(_KINDS)}.")
        object.__setattr__(self, "layers", tuple(self.layers))  # a list from JSON is welcome
        if self.stages is None:
            return
        if not isinstance(self.stages, list | tuple) or not self.stages:
            raise ValueError(
                f"ARC: stages is {self.stages!r}; pass a tuple of numbers from 1, such as (2, 3, 4), or None."
            )
        for stage in self.stages:
            check_count("ARC", "a stage", stage)
        object.__setattr__(self, "stages", tuple(self.stages))

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the convolutions of ``net`` in place.

        Args:
            net: any network on folded frames (B*S, C, H, W), or a 3-D one on clips.
            num_segments: time steps S.
        Returns:
            the names of the layers that were changed.
        Raises:
            ValueError: nothing could be changed (the message counts the layers and why each was left), a layer is of
                an unknown class or has hooks, or lies in a block that is re-parameterized for inference. The network
                is left as it was.
        """
        sites = find_sites(net, self.stages, self.layers)
        if not sites.layers:
            why = why_none(sites, self.stages, self.layers)
            raise ValueError(f"ARC: nothing to change in {type(net).__name__}: {why}")
        is_3d = any(getattr(module, "is_3d", False) for module in net.modules())
        if is_3d and any(isinstance(layer, nn.Linear) for layer in sites.layers.values()):
            raise ValueError(
                f"ARC: layers={self.layers} in {type(net).__name__}, a 3-D network: the input of a linear layer does "
                "not show its frames there; leave 'linear' out."
            )
        return replace_modules(
            net, lambda _, name: name in sites.layers, lambda layer, name: self._arc_layer(layer, name, num_segments)
        )

    def _arc_layer(self, layer: nn.Module, name: str, num_segments: int) -> nn.Module:
        make: type[ArcConv2d] | type[ArcConv3d] | type[ArcLinear] = ArcConv2d
        if isinstance(layer, nn.Linear | ArcLinear):
            make = ArcLinear
        elif isinstance(layer, nn.Conv3d | PreConv3d):
            make = ArcConv3d
        try:
            return make.from_layer(layer, num_segments, self)
        except ValueError as error:
            raise ValueError(f"ARC: {name}: {error}") from error
