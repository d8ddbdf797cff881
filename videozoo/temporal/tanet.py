"""Temporal adaptive model (TANet)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import TemporalAdaptive
from videozoo.surgery import insert_before

__all__ = ["TANet"]


@dataclass(frozen=True)
class TANet:
    """TANet: a temporal adaptive module before the second convolution of every block.

    Liu et al., 2021 (arXiv:2005.06803).

    Example:
        >>> from videozoo import TANet, compose
        >>> model = compose("resnet18", TANet(), num_classes=10)
        >>> model.sites["tanet"][0]
        'layer1.0.conv2'
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the modules in place and return the names of the convolutions that they precede.

        Raises:
            ValueError: no known block.
        """
        return insert_before(net, lambda conv: TemporalAdaptive(conv.in_channels, num_segments), site="second_conv")
