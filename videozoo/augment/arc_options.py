"""Options of ARC."""

from dataclasses import dataclass
from typing import Literal, get_args

from videozoo.layers.options import check_choice, check_count, check_flag, check_unused

__all__ = ["ArcOptions", "LayerKind"]

Aggregation = Literal["S+T", "S", "T", "ST"]
AttentionLayer = Literal["fc", "gru"]
Interaction = Literal["additive", "multiplicative"]
LayerKind = Literal["conv2d", "conv3d", "pointwise", "linear"]
Memory = Literal["keep", "recompute"]
_CHOICES = {
    "interaction": get_args(Interaction),
    "aggregation": get_args(Aggregation),
    "attention_layer": get_args(AttentionLayer),
    "memory": get_args(Memory),
}
_KINDS = get_args(LayerKind)


@dataclass(frozen=True)
class ArcOptions:
    """Checked options of ARC. :class:`~videozoo.augment.ARC` documents them."""

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
            check_choice("ARC", option, getattr(self, option), choices)
        for option in ("embedding", "attention", "fusion"):
            check_flag("ARC", option, getattr(self, option))
        if not self.attention:
            check_unused("ARC", self, ("interaction", "aggregation", "attention_layer"), "attention=False")
        if not (self.embedding or self.attention or self.fusion):
            raise ValueError("ARC: embedding, attention and fusion are all off; leave at least one on.")
        if isinstance(self.layers, str) or not self.layers or not set(self.layers) <= set(_KINDS):
            raise ValueError(f"ARC: layers is {self.layers!r}; pass a tuple of some of {', '.join(_KINDS)}.")
        object.__setattr__(self, "layers", tuple(self.layers))  # JSON gives a list
        if self.stages is None:
            return
        if not isinstance(self.stages, list | tuple) or not self.stages:
            raise ValueError(
                f"ARC: stages is {self.stages!r}; pass a tuple of numbers from 1, such as (2, 3, 4), or None."
            )
        for stage in self.stages:
            check_count("ARC", "a stage", stage)
        object.__setattr__(self, "stages", tuple(self.stages))
