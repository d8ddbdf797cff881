"""Temporal enhancement and interaction network (TEINet)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import MotionEnhancement, TemporalConv
from videozoo.surgery import insert_before

__all__ = ["TEI"]


@dataclass(frozen=True)
class TEI:
    """TEINet: gates from frame differences, then a learned temporal convolution, before the first convolution.

    Liu et al., 2020 (arXiv:1911.09435). In every block the motion enhanced module (MEM) scales the channels and the
    temporal interaction module (TIM), a depth-wise convolution of kernel size 3, mixes neighboring frames. Only the
    residual branch sees them. The authors published no code and no weights, so nothing shows that this model equals
    theirs. Choices of ours: those that
    :class:`~videozoo.layers.MotionEnhancement` lists, the start of TIM as TSM's shift of an eighth of the channels
    each way, and that ResNet-101 has the modules in every block too.

    Example:
        >>> from videozoo import TEI, compose
        >>> model = compose("resnet18", TEI(), num_classes=10)
        >>> model.sites["tei"][0]
        'layer1.0.conv1'
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the modules in place and return the names of the convolutions that they precede.

        Raises:
            ValueError: no known block.
        """

        def make(conv: nn.Conv2d) -> nn.Module:
            channels = conv.in_channels
            return nn.Sequential(MotionEnhancement(channels, num_segments), TemporalConv(channels, num_segments))

        return insert_before(net, make)
