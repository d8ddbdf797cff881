"""Temporal segment model (TSN)."""

from dataclasses import dataclass

from torch import nn

__all__ = ["TSN"]


@dataclass(frozen=True)
class TSN:
    """TSN: no temporal module, only the average over frames in the head.

    Wang et al., 2016 (arXiv:1608.00859).

    Example:
        >>> from videozoo import TSN, compose
        >>> compose("resnet18", TSN(), num_classes=10).sites  # no module of the backbone is changed
        {'tsn': []}
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change nothing and return an empty list."""
        return []
