"""Gate-shift module (GSM)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import GateShift
from videozoo.surgery import insert_after

__all__ = ["GSM"]


@dataclass(frozen=True)
class GSM:
    """GSM: a gate-shift module between a convolution and its norm, in one branch of every block.

    Sudhakaran et al., 2020 (arXiv:1912.00381). On the authors' two Inceptions (``bninception`` and
    ``inception_v3_tsn``) the branches are theirs. The paper has no ResNets. On them and on other backbones with
    residual blocks the zoo takes the first convolution of every block.

    A new module interleaves channels before a pretrained norm, as the authors' does. So a model that starts from the
    weights of an image model does not start as that model.

    Example:
        >>> from videozoo import GSM, compose
        >>> model = compose("resnet18", GSM(), num_classes=10)
        >>> model.sites["gsm"][:2]
        ['layer1.0.conv1', 'layer1.1.conv1']
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the modules in place.

        Args:
            net: a 2-D backbone on folded frames (B*S, C, H, W) whose blocks are listed in ``BLOCK_SITES``.
            num_segments: time steps S.
        Returns:
            the names of the convolutions whose output is now gated.
        Raises:
            ValueError: no known block, or a convolution whose number of output channels is not a multiple of 4.
        """
        return insert_after(net, lambda conv: GateShift(conv.out_channels, num_segments))
