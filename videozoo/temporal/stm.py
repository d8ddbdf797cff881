"""Spatiotemporal and motion encoding (STM)."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers import ChannelwiseMotion, TemporalConv
from videozoo.surgery import PreConv2d, adopt, write_plan
from videozoo.temporal.blocks import TypedBottleneck, add_shortcut, find_bottlenecks

__all__ = ["STM", "STMBottleneck"]


@dataclass(frozen=True)
class STM:
    """STM: every bottleneck adds motion features to spatio-temporal ones.

    Jiang et al., 2019 (arXiv:1908.02486), section 3. After the first 1x1 convolution of a block, two modules run side
    by side: CSTM is a learned temporal convolution before the 3x3, CMM gives the motion from each frame to the next.
    Their sum goes through the last 1x1 convolution.

    No release of the authors' code is known, so nothing shows that this model equals theirs. The paper leaves some
    choices to us. CMM has one batch norm, after its first 1x1 convolution, as the motion modules of TEA and TDN. The
    sum is taken after the norm and activation of the 3x3 convolution. Where the 3x3 convolution halves the map, 2x2 max
    pooling halves the motion features.

    Example:
        >>> from videozoo import STM, compose
        >>> model = compose("resnet50", STM(), num_classes=174)
        >>> round(sum(p.numel() for p in model.parameters()) / 1e6, 1)  # the paper: 24.0 M
        24.0
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change every block in place and return the names of the blocks.

        Raises:
            ValueError: the backbone has blocks other than timm's ResNet bottlenecks. It is left as it was.
        """
        found = find_bottlenecks(net, owner="STM", stages=(1, 2, 3, 4))
        return write_plan(net, {name: STMBottleneck.from_block(block, num_segments) for name, block in found})


class STMBottleneck(TypedBottleneck):
    """A bottleneck with STM's modules: a temporal convolution before ``conv2``, and ``motion``.

    Shape:
        that of the block.
    """

    motion: Any

    @classmethod
    def from_block(cls, block: Any, num_segments: int) -> "STMBottleneck":
        """Take over ``block``, sharing its parameters and key names."""
        new = adopt(cls, block)
        place = {"device": block.conv1.weight.device, "dtype": block.conv1.weight.dtype}
        channels = block.conv2.in_channels
        new.conv2 = PreConv2d.from_conv(block.conv2, _temporal_conv(channels, num_segments).to(**place))
        new.motion = ChannelwiseMotion(channels, block.conv2.out_channels, num_segments).to(**place)
        return new

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        motion = self.motion(y)
        if self.stride > 1:
            motion = F.max_pool2d(motion, self.stride, ceil_mode=True)
        y = self.aa(self.act2(self.drop_block(self.bn2(self.conv2(y)))))
        return self.act3(add_shortcut(self, self.bn3(self.conv3(y + motion)), x))


def _temporal_conv(channels: int, num_segments: int) -> TemporalConv:
    """Return CSTM's temporal convolution: a quarter of the channels starts as a shift from the past, the last quarter
    as one from the future."""
    conv = TemporalConv(channels, num_segments, shift_div=None)
    quarter = channels // 4
    if quarter:
        with torch.no_grad():
            conv.weight[:quarter] = torch.tensor([1.0, 0.0, 0.0])
            conv.weight[-quarter:] = torch.tensor([0.0, 0.0, 1.0])
    return conv
