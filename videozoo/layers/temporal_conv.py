"""A depth-wise convolution over time with three taps."""

import torch
from torch import Tensor, nn

from videozoo.shapes import unfold_time

__all__ = ["TemporalConv", "temporal_conv"]


def temporal_conv(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel over time with its own three taps, zeros past the ends.

    y[s] = k_0 x[s-1] + k_1 x[s] + k_2 x[s+1]

    Shape:
        x (B, S, C, H, W), kernel (B, C, 3) or (1, C, 3); output as x.
    """
    before, centre, after = kernel[:, None, :, :, None, None].unbind(3)
    y = x * centre
    y[:, 1:] += x[:, :-1] * before
    y[:, :-1] += x[:, 1:] * after
    return y


class TemporalConv(nn.Module):
    """A learned temporal shift: depth-wise, three taps, started as TSM's shift.

    The "channel-wise temporal convolution" of TDN (Wang et al., 2021, arXiv:2012.10071) and TEA (Li et al., 2020,
    arXiv:2004.01398).

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        shift_div: the first C // shift_div channels start by taking x[s+1], the next by x[s-1], the rest by x[s];
            None: every channel starts by x[s].
    Shape:
        input (B*S, C, H, W), output the same; ``weight`` (C, 1, 3).
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, shift_div: int | None = 8) -> None:
        super().__init__()
        self.num_segments = num_segments
        fold = 0 if shift_div is None else channels // shift_div
        self.weight = nn.Parameter(torch.zeros(channels, 1, 3))
        with torch.no_grad():
            self.weight[:fold, 0, 2] = 1
            self.weight[fold : 2 * fold, 0, 0] = 1
            self.weight[2 * fold :, 0, 1] = 1

    def forward(self, x: Tensor) -> Tensor:
        return temporal_conv(unfold_time(x, self.num_segments), self.weight.transpose(0, 1).to(x.dtype)).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, num_segments={self.num_segments}"
