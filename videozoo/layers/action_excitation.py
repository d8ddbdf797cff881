"""Spatio-temporal, channel and motion excitation of ACTION-Net."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers.temporal_conv import TemporalConv
from videozoo.layers.temporal_difference import step_difference
from videozoo.shapes import frame_means, per_frame, unfold_time

__all__ = ["ActionExcitation"]


class ActionExcitation(nn.Module):
    """A learned temporal shift, then the sum of three excitations of its output.

    Wang et al., 2021 (arXiv:2103.07372), section 3. With the shifted map x and gates g in (0, 1)::

        y = (x + x g_space) + (x + x g_channel) + (x + x g_motion)

    * g_space: a 3x3x3 convolution of the mean over channels, one value per position and frame.
    * g_channel: squeezed frame means, a convolution over time, ReLU, expanded.
    * g_motion: frame means of the difference between squeezed features and a depth-wise convolution of those of the
      next frame, expanded. Zero difference at the last frame.

    As in the authors' code the three residuals are added too, so y is about 4.5 x at the start.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        reduction: of the squeezed channels.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, reduction: int = 16) -> None:
        super().__init__()
        self.num_segments = num_segments
        hidden = max(1, channels // reduction)
        self.shift = TemporalConv(channels, num_segments)
        # The 3x3x3 convolution has one channel: in 2-D, its three frames are three input channels.
        self.space = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        self.channel = nn.Sequential(
            nn.Conv1d(channels, hidden, 1, bias=False),
            nn.Conv1d(hidden, hidden, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv1d(hidden, channels, 1, bias=False),
        )
        self.squeeze, self.squeeze_norm = nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        self.map = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)

    def _space_gate(self, x: Tensor) -> Tensor:
        means = F.pad(unfold_time(x.mean(1), self.num_segments), (0, 0, 0, 0, 1, 1))  # (B, 1 + S + 1, H, W)
        three = torch.stack([means[:, :-2], means[:, 1:-1], means[:, 2:]], 2)  # (B, S, 3, H, W)
        return torch.sigmoid(self.space(three.flatten(0, 1)))

    def _channel_gate(self, x: Tensor) -> Tensor:
        gate = self.channel(frame_means(x, self.num_segments).transpose(1, 2))  # (B, C, S)
        return per_frame(torch.sigmoid(gate).transpose(1, 2), self.num_segments)

    def _motion_gate(self, x: Tensor) -> Tensor:
        now = self.squeeze_norm(self.squeeze(x))
        d = step_difference(now, self.map(now), self.num_segments, 1)
        return torch.sigmoid(self.expand(d.mean((2, 3), keepdim=True)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.shift(x)
        return x * (3 + self._channel_gate(x) + self._motion_gate(x)) + x * self._space_gate(x)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"
