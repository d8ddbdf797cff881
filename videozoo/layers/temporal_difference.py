"""Excitation by feature differences between time steps: the long-term module of TDN and motion excitation of TEA."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.shapes import fold_time, to_clips

__all__ = ["ChannelwiseMotion", "MotionExcitation", "TemporalDifference", "step_difference"]


def step_difference(now: Tensor, mapped: Tensor, num_segments: int, step: int) -> Tensor:
    """Return mapped[s + step] - now[s] for a step of 1 or -1, zero past the ends. All are (B*S, C, H, W)."""
    # On clips, because padding keeps channels_last_3d but no other five-dimensional memory format.
    now, mapped = to_clips(now, num_segments), to_clips(mapped, num_segments)
    if step > 0:
        return fold_time(F.pad(mapped[:, :, 1:] - now[:, :, :-1], (0, 0, 0, 0, 0, 1)))
    return fold_time(F.pad(mapped[:, :, :-1] - now[:, :, 1:], (0, 0, 0, 0, 1, 0)))


class _Excitation(nn.Module):
    """Common base of both modules: squeezed features, and a depth-wise convolution of them."""

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, reduction: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.hidden = hidden = max(1, channels // reduction)
        self.squeeze, self.squeeze_norm = nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        self.map = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)

    def _squeezed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        now = self.squeeze_norm(self.squeeze(x))
        return now, self.map(now)


class TemporalDifference(_Excitation):
    """Long-term module of TDN: gate features by their differences to the previous and next step at three scales.

    Wang et al., 2021 (arXiv:2012.10071), section 3.3. The squeezed features are subtracted from a depth-wise 3x3
    convolution of those of the neighboring step. Each difference d gives a gate::

        g(d) = sigmoid(BN(conv(d/3 + up(BN(conv(pool d)))/3 + BN(conv(d))/3))) - 0.5

    The output is x + x * mean of the gates of both directions. As in the authors' code the third scale is at full
    resolution, and the zeros past the ends go through the convolutions too.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        reduction: of the squeezed channels.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    def __init__(self, channels: int, num_segments: int, reduction: int = 16) -> None:
        super().__init__(channels, num_segments, reduction)
        hidden = self.hidden
        self.pooled, self.pooled_norm = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden)
        self.full, self.full_norm = nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden)
        self.expand, self.expand_norm = nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def _gate(self, d: Tensor) -> Tensor:
        # a map with a side of one pixel cannot be pooled by two
        low = F.avg_pool2d(d, 2) if min(d.shape[-2:]) > 1 else d
        low = F.interpolate(self.pooled_norm(self.pooled(low)), d.shape[-2:])
        d = (d + low + self.full_norm(self.full(d))) / 3
        return torch.sigmoid(self.expand_norm(self.expand(d)))

    def forward(self, x: Tensor) -> Tensor:
        now, mapped = self._squeezed(x)
        later = step_difference(now, mapped, self.num_segments, 1)
        earlier = step_difference(now, mapped, self.num_segments, -1)
        if self.training:  # two calls, because the norms use separate batch statistics for each direction
            gate = self._gate(later) + self._gate(earlier)
        else:
            one, other = self._gate(torch.cat([later, earlier])).unflatten(0, (2, -1)).unbind(0)
            gate = one + other
        return torch.add(x, x * (gate - 1), alpha=0.5)


class MotionExcitation(_Excitation):
    """Motion excitation (ME) of TEA: gate channels by the spatial mean of feature differences to the next step.

    Li et al., 2020 (arXiv:2004.01398), section 3.1.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        reduction: of the squeezed channels.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    def __init__(self, channels: int, num_segments: int, reduction: int = 16) -> None:
        super().__init__(channels, num_segments, reduction)
        self.expand, self.expand_norm = nn.Conv2d(self.hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        d = step_difference(*self._squeezed(x), self.num_segments, 1)
        gate = torch.sigmoid(self.expand_norm(self.expand(d.mean((2, 3), keepdim=True)))) - 0.5
        return x + x * gate


class ChannelwiseMotion(_Excitation):
    """Channel-wise motion module (CMM) of STM: features of the motion from each frame to the next.

    Jiang et al., 2019 (arXiv:1908.02486), section 3.2. With squeezed features f the motion at step s is
    expand(map(f[s+1]) - f[s]), where ``map`` is a depth-wise 3x3 convolution. At the last step it is zero.

    Args:
        channels: C.
        out_channels: channels of the result.
        num_segments: time steps S folded into the first dimension.
        reduction: of the squeezed channels.
    Shape:
        input (B*S, C, H, W), output (B*S, out_channels, H, W).
    """

    def __init__(self, channels: int, out_channels: int, num_segments: int, reduction: int = 16) -> None:
        super().__init__(channels, num_segments, reduction)
        self.expand = nn.Conv2d(self.hidden, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(step_difference(*self._squeezed(x), self.num_segments, 1))
