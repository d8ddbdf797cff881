"""Multi-view fusion of MVFNet."""

import torch
from torch import Tensor, nn

from videozoo.layers.temporal_conv import TemporalConv

__all__ = ["MultiViewFusion"]


class MultiViewFusion(nn.Module):
    """Sum of convolutions along time, along height and along width, on some of the channels.

    Wu et al., 2021 (arXiv:2012.06977). With m = C // part_div and depth-wise kernels k of size 3::

        y[:m] = hardswish(BN(k_time * x[:m] + k_height * x[:m] + k_width * x[:m]))
        y[m:] = x[m:]

    As in the authors' code there is no residual around the sum, so the layer changes its input from the start.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        part_div: 1 / the fraction of channels that are convolved, at most C.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: ``part_div`` is larger than C.
    """

    def __init__(self, channels: int, num_segments: int, part_div: int = 8) -> None:
        super().__init__()
        self.part = m = channels // part_div
        if not m:
            raise ValueError(
                f"MultiViewFusion: part_div is {part_div}; need at most the number of channels, {channels}."
            )
        self.time = TemporalConv(m, num_segments)
        self.height = nn.Conv2d(m, m, (3, 1), padding=(1, 0), groups=m, bias=False)
        self.width = nn.Conv2d(m, m, (1, 3), padding=(0, 1), groups=m, bias=False)
        self.norm = nn.BatchNorm2d(m)
        self.act = nn.Hardswish()
        for view in (self.time, self.height, self.width):  # as the authors' code
            nn.init.kaiming_normal_(view.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, : self.part]
        mixed = self.act(self.norm(self.time(part) + self.height(part) + self.width(part)))
        return torch.cat([mixed, x[:, self.part :]], 1)
