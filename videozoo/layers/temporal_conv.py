"""Depth-wise temporal convolution of kernel size 3."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.autograd import CustomGradient
from videozoo.shapes import unfold_time

__all__ = ["TemporalConv", "mix_neighbors", "temporal_conv"]


def temporal_conv(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel over time with its own kernel of size 3, zeros past the ends.

    y[s] = k_0 x[s-1] + k_1 x[s] + k_2 x[s+1]

    Shape:
        x (B, S, C, H, W), kernel (B, C, 3) or (1, C, 3). Output as x.
    """
    return mix_neighbors(x, kernel.permute(2, 0, 1)[:, :, None])


def mix_neighbors(x: Tensor, weights: Tensor) -> Tensor:
    """Return a weighted sum of the previous, the current and the next time step, with zeros past the ends.

    y[s] = weights[0, s] x[s-1] + weights[1, s] x[s] + weights[2, s] x[s+1]

    Shape:
        x (B, S, C, H, W), weights (3, B or 1, S or 1, C). Output as x.
    """
    return _MixNeighbors.apply(x, weights.to(x.dtype))


fx.wrap("mix_neighbors")


class _MixNeighbors(CustomGradient):
    """:func:`mix_neighbors`. The gradient of x is a weighted sum too. Autograd would copy the map for every write."""

    @staticmethod
    def plain(x: Tensor, weights: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
        before, center, after = weights[..., None, None].unbind(0)
        return before * padded[:, :-2] + center * x + after * padded[:, 2:]

    @staticmethod
    def run(_: Any, x: Tensor, weights: Tensor) -> Tensor:
        before, center, after = weights.contiguous()[..., None, None].unbind(0)
        first, last = (slice(1, None), slice(None, -1)) if weights.shape[2] > 1 else (slice(None), slice(None))
        y = x * center
        y[:, 1:].addcmul_(x[:, :-1], before[:, first])
        y[:, :-1].addcmul_(x[:, 1:], after[:, last])
        return y

    @staticmethod
    def gradient(grad: Tensor, needed: Any, _: Any, x: Tensor, weights: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad_x = grad_weights = None
        if needed[0]:
            # x[s] has weights[0] at step s + 1 and weights[2] at step s - 1. The values that roll over the ends are
            # multiplied with zeros.
            grad_x = _MixNeighbors.run(
                None, grad, torch.stack([weights[2].roll(1, 1), weights[1], weights[0].roll(-1, 1)])
            )
        if needed[1]:
            before = F.pad((grad[:, 1:] * x[:, :-1]).sum((3, 4)), (0, 0, 1, 0))
            after = F.pad((grad[:, :-1] * x[:, 1:]).sum((3, 4)), (0, 0, 0, 1))
            grad_weights = torch.stack([before, (grad * x).sum((3, 4)), after]).sum_to_size(weights.shape)
        return grad_x, grad_weights


class TemporalConv(nn.Module):
    """A learned temporal shift: a depth-wise convolution of kernel size 3, initialized as TSM's shift.

    The "channel-wise temporal convolution" of TDN (Wang et al., 2021, arXiv:2012.10071) and TEA (Li et al., 2020,
    arXiv:2004.01398).

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        shift_div: initialization. The first C // shift_div channels take x[s+1], the next x[s-1], the rest x[s].
            None: every channel takes x[s].
    Shape:
        input (B*S, C, H, W), output the same. ``weight`` (C, 1, 3).
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
        return temporal_conv(unfold_time(x, self.num_segments), self.weight.transpose(0, 1)).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, num_segments={self.num_segments}"
