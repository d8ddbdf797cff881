"""ACTION-Net."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import ActionExcitation
from videozoo.surgery import insert_before
from videozoo.temporal.deep_stage import has_deep_stage

__all__ = ["ACTION"]


@dataclass(frozen=True)
class ACTION:
    """ACTION-Net: a learned shift and three excitations before the first convolution of every block.

    Wang et al., 2021 (arXiv:2103.07372). Only the residual branch sees them. As in the authors' code, a backbone with a
    stage of 23 blocks or more (ResNet-101) has them in blocks 0, 2, 4, ... of every stage.

    Example:
        >>> from videozoo import ACTION, compose
        >>> model = compose("resnet18", ACTION(), num_classes=10)
        >>> model.sites["action"][0]
        'layer1.0.conv1'
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the modules in place and return the names of the convolutions that they precede.

        Raises:
            ValueError: no known block.
        """
        return insert_before(
            net, lambda conv: ActionExcitation(conv.in_channels, num_segments), every_other=has_deep_stage(net)
        )
