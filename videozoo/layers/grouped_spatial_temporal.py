"""Grouped convolutions of GST: over space, and over space and time, side by side."""

import torch
from torch import Tensor, nn

from videozoo.shapes import fold_time, to_clips

__all__ = ["GroupedSpatialTemporal"]


class GroupedSpatialTemporal(nn.Module):
    """A 3x3 convolution split in two: a spatial 1x3x3 part and a spatio-temporal 3x3x3 part.

    Luo and Yuille, 2019 (arXiv:1909.13130), section 3. With P output channels the spatial part computes the first
    P - P / alpha, the temporal part the last P / alpha. With beta = 2 the spatial part sees the first half of the input
    channels and the temporal part the second half. With beta = 1 both see all.

    Args:
        in_channels: C. A multiple of ``beta``.
        out_channels: P. A multiple of ``alpha``.
        num_segments: time steps S folded into the first dimension.
        alpha: 1 / the fraction of output channels of the temporal part.
        beta: 1 / the fraction of input channels that each part sees, 1 or 2.
        stride: over space. Time has none.
        dilation: over space.
        bias: whether both parts have a bias.
    Shape:
        input (B*S, C, H, W), output (B*S, P, H', W').
    """

    mixes_time = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_segments: int,
        alpha: int = 4,
        beta: int = 2,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.num_segments, self.beta = num_segments, beta
        seen, temporal = in_channels // beta, out_channels // alpha
        self.spatial = nn.Conv2d(seen, out_channels - temporal, 3, stride, dilation, dilation, bias=bias)
        self.temporal = nn.Conv3d(
            seen, temporal, 3, (1, stride, stride), (1, dilation, dilation), (1, dilation, dilation), bias=bias
        )
        nn.init.kaiming_normal_(self.temporal.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        first = last = x
        if self.beta > 1:  # a convolution would copy its part of the channels anyway, but not keep the memory format
            parts = x.chunk(self.beta, 1)  # not unpacked, for torch.fx
            first, last = parts[0].clone(), parts[1].clone()
        temporal = fold_time(self.temporal(to_clips(last, self.num_segments)))
        return torch.cat([self.spatial(first), temporal], 1)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"
