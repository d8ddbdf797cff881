"""Gate-shift module: learned gates decide which features move one step in time."""

import torch
from torch import Tensor, fx, nn

from videozoo.layers.temporal_shift import shift_frames
from videozoo.shapes import unfold_time

__all__ = ["GateShift", "interleave"]

fx.wrap("shift_frames")


def interleave(x: Tensor) -> Tensor:
    """Interleave the quarters of each half of the channels: 0, C/4, 1, C/4 + 1, ... in the first half.

    Shape:
        input (N, C, H, W), output the same, in the same memory format.
    """
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return x.unflatten(1, (2, 2, -1)).transpose(2, 3).flatten(1, 3)
    return x.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(4, 5).flatten(3).permute(0, 3, 1, 2)


fx.wrap("interleave")


class GateShift(nn.Module):
    """Gate-shift module: one gate per half of the channels, whose gated part moves one step in time.

    Sudhakaran et al., 2020 (arXiv:1912.00381), section 3. With x in two halves of channels::

        g_1, g_2 = tanh(conv(ReLU(norm(x))))
        y[s] = g_1 x[s] for the first half, g_2 x[s] for the second half
        first half: y[s+1] + x[s] - y[s]
        second half: y[s-1] + x[s] - y[s]

    with zeros past the ends. The 3x3x3 convolution has one group and one output channel for each half. Then the
    channels of each half are interleaved: channel 2j + i of the result is channel i C/4 + j. The paper does not mention
    that, but the authors' code always does it. The gates start at zero, so a new module only permutes channels.

    The three steps of the convolution are output channels of a 2-D one, for frames s-1, s and s+1 in this order, which
    are added up afterwards. That is faster than a 3-D convolution with two outputs.

    Args:
        channels: C, a multiple of 4.
        num_segments: time steps S folded into the first dimension.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: ``channels`` is not a multiple of 4.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(
                f"GateShift: {channels} channels cannot be interleaved in quarters; need a multiple of 4, so use a "
                "backbone with other widths."
            )
        self.num_segments = num_segments
        self.norm = nn.BatchNorm2d(channels)  # over folded frames, that is over time too
        self.act = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, 6, 3, padding=1, groups=2, bias=False)
        self.bias = nn.Parameter(torch.zeros(2))
        nn.init.zeros_(self.conv.weight)

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates of both halves, between -1 and 1: (B*S, C, H, W) -> (B, S, 2, H, W)."""
        steps = unfold_time(self.conv(self.act(self.norm(x))), self.num_segments)
        before, now, after = steps.unflatten(2, (2, 3)).unbind(3)
        moved = shift_frames(torch.cat([after, before, now], 2), 2)
        return (moved.unflatten(2, (3, 2)).sum(2) + self.bias[:, None, None]).tanh()

    def forward(self, x: Tensor) -> Tensor:
        clips = unfold_time(x, self.num_segments)
        # The first factor decides on the memory format of the product.
        gated = (clips.unflatten(2, (2, -1)) * self.gates(x).unsqueeze(3)).flatten(2, 3)
        moved = shift_frames(gated, x.shape[1] // 2) + (clips - gated)
        return interleave(moved.flatten(0, 1))

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"
