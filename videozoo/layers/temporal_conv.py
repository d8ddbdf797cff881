"""Depth-wise temporal convolution of kernel size 3."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.autograd import CustomGradient
from videozoo.shapes import unfold_time

__all__ = ["TemporalConv", "mix_neighbors", "temporal_conv"]

T = TypeVar("T")


def temporal_conv(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every channel over time with its own kernel of size 3, zeros past the ends.

    y[s] = k_0 x[s-1] + k_1 x[s] + k_2 x[s+1]

    Shape:
        x (B, S, C, H, W), kernel (B, C, 3) or (1, C, 3). Output as x.
    """
    return mix_neighbors(x, kernel.permute(2, 0, 1)[:, :, None])


def mix_neighbors(x: Tensor, weights: Tensor) -> Tensor:
    """Return a weighted sum of neighboring time steps, with zeros past the ends.

    y[s] = sum over k of weights[k, s] x[s + k - r], where 2 r + 1 steps are summed. With r = 1 these are the previous,
    the current and the next one.

    Shape:
        x (B, S, C, H, W), weights (2 r + 1, B or 1, S or 1, C). Output as x.
    """
    return _MixNeighbors.apply(x, weights.to(x.dtype))


fx.wrap("mix_neighbors")


class _MixNeighbors(CustomGradient):
    """:func:`mix_neighbors`. The gradient of x is a weighted sum too. Autograd would copy the map for every write."""

    @staticmethod
    def plain(x: Tensor, weights: Tensor) -> Tensor:
        reach, steps = weights.shape[0] // 2, x.shape[1]
        padded = F.pad(x, (0, 0, 0, 0, 0, 0, reach, reach))
        taps = weights[..., None, None].unbind(0)
        y = taps[0] * padded[:, :steps]
        for k, tap in enumerate(taps[1:], 1):
            y = y + tap * padded[:, k : k + steps]
        return y

    @staticmethod
    def run(_: Any, x: Tensor, weights: Tensor) -> Tensor:
        taps = weights.contiguous()[..., None, None].unbind(0)
        y = x * taps[len(taps) // 2]
        for tap, written, read in _neighbors(taps, x.shape[1]):
            y[:, written].addcmul_(x[:, read], tap[:, written] if weights.shape[2] > 1 else tap)
        return y

    @staticmethod
    def gradient(grad: Tensor, needed: Any, _: Any, x: Tensor, weights: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad_x = grad_weights = None
        if needed[0]:
            # x[s] has weights[k] at step s - (k - r). The values that roll over the ends are multiplied with zeros.
            reach = weights.shape[0] // 2
            rolled = [tap.roll(k - reach, 1) for k, tap in enumerate(weights)]
            grad_x = _MixNeighbors.run(None, grad, torch.stack(rolled[::-1]))
        if needed[1]:
            steps = x.shape[1]
            sums = list(weights)
            sums[len(sums) // 2] = (grad * x).sum((3, 4))
            for k, written, read in _neighbors(range(len(sums)), steps):
                kept = (grad[:, written] * x[:, read]).sum((3, 4))
                sums[k] = F.pad(kept, (0, 0, written.start, steps - written.stop))
            grad_weights = torch.stack(sums).sum_to_size(weights.shape)
        return grad_x, grad_weights


def _neighbors(taps: Sequence[T], steps: int) -> Iterator[tuple[T, slice, slice]]:
    """Yield every tap but the center, the steps that it adds to, and the steps that it reads."""
    for k, tap in enumerate(taps):
        ahead = max(-steps, min(steps, k - len(taps) // 2))
        if ahead:
            first, last = max(0, -ahead), steps - max(0, ahead)
            yield tap, slice(first, last), slice(first + ahead, last + ahead)


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
