"""Temporal relation model (TRN)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import TemporalRelation
from videozoo.layers.options import check_count

__all__ = ["TRN"]


@dataclass(frozen=True)
class TRN:
    """TRN: the multi-scale relation head in place of the average over frames.

    Zhou et al., 2018 (arXiv:1711.08496).

    Args:
        hidden: features per frame in the head, at least 1.
    Raises:
        ValueError: ``hidden`` is not a whole number, or below 1.
    Example:
        >>> from videozoo import TRN, compose
        >>> model = compose("resnet18", TRN(hidden=128), num_classes=10)
        >>> type(model.fc).__name__
        'TemporalRelation'
    """

    hidden: int = 256

    def __post_init__(self) -> None:
        check_count("TRN", "hidden", self.hidden)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change nothing in the backbone and return an empty list."""
        return []

    def make_head(self, in_features: int, num_segments: int, num_classes: int) -> nn.Module:
        """Return the head for frame features (B, S, in_features)."""
        return TemporalRelation(in_features, num_segments, num_classes, self.hidden)
