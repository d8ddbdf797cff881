"""Multi-view fusion network (MVFNet)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import MultiViewFusion
from videozoo.layers.options import check_count
from videozoo.surgery import insert_before

__all__ = ["MVF"]


@dataclass(frozen=True)
class MVF:
    """MVFNet: convolutions along time, height and width before the first convolution of stages 3 and 4.

    Wu et al., 2021 (arXiv:2012.06977). They replace some channels on the residual branch of every block of these
    stages, also on ResNet-101.

    Args:
        part_div: 1 / the fraction of channels that are convolved.
    Raises:
        ValueError: ``part_div`` is no whole number of at least 1.
    Example:
        >>> from videozoo import MVF, compose
        >>> model = compose("resnet18", MVF(), num_classes=10)
        >>> model.sites["mvf"]
        ['layer3.0.conv1', 'layer3.1.conv1', 'layer4.0.conv1', 'layer4.1.conv1']
    """

    part_div: int = 8

    def __post_init__(self) -> None:
        check_count("MVF", "part_div", self.part_div, 1, "the paper convolves an eighth of the channels")

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the fusions in place and return the names of the convolutions that they precede.

        Raises:
            ValueError: no known block, or no stages 3 and 4.
        """
        return insert_before(
            net, lambda conv: MultiViewFusion(conv.in_channels, num_segments, self.part_div), stages=(3, 4)
        )
