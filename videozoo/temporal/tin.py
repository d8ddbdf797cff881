"""Temporal interlacing network (TIN)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import TemporalInterlace
from videozoo.layers.options import check_count
from videozoo.surgery import insert_before

__all__ = ["TIN"]


@dataclass(frozen=True)
class TIN:
    """TIN: some channels move by learned fractions of frames before the first convolution of every block.

    Shao et al., 2020 (arXiv:2001.06499). They move on the residual branch only, also on ResNet-101 in every block.

    Args:
        shift_div: 1 / the fraction of channels that move.
    Raises:
        ValueError: ``shift_div`` is no whole number of at least 1.
    Example:
        >>> from videozoo import TIN, compose
        >>> model = compose("resnet18", TIN(), num_classes=10)
        >>> model.sites["tin"][0]
        'layer1.0.conv1'
    """

    shift_div: int = 4

    def __post_init__(self) -> None:
        check_count("TIN", "shift_div", self.shift_div, 1, "the authors move a quarter of the channels")

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the modules in place and return the names of the convolutions that they precede.

        Raises:
            ValueError: no known block, or one with too few channels.
        """
        return insert_before(net, lambda conv: TemporalInterlace(conv.in_channels, num_segments, self.shift_div))
