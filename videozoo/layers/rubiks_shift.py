"""Learned shifts of RubiksNet over space and time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.autograd import needs_plain_operations
from videozoo.layers.temporal_conv import mix_neighbors, temporal_conv
from videozoo.shapes import unfold_time

__all__ = ["AttentionShift", "RubiksShift", "SpatialShift", "shift_space", "shift_time"]

_MAX_REACH = 4  # pixels or frames. Larger shifts are read by index


def shift_space(x: Tensor, shift: Tensor, stride: int = 1) -> Tensor:
    """Read every channel at positions moved by its own real-valued shift, with linear interpolation.

    y[h, w] = x[h stride + shift_0, w stride + shift_1], zeros outside.

    Shape:
        x (N, C, H, W), shift (2, C). Output (N, C, ceil(H / stride), ceil(W / stride)).
    """
    reach = _reach(x, shift)
    if reach is None:
        return _read(_read(x, shift[0], 2, stride), shift[1], 3, stride)
    kernel = _taps(shift[0], reach)[:, None, :, None] * _taps(shift[1], reach)[:, None, None]
    return F.conv2d(x, kernel.to(x.dtype), stride=stride, padding=reach, groups=x.shape[1])


def shift_time(x: Tensor, shift: Tensor) -> Tensor:
    """Read every channel at time steps moved by its own real-valued shift, with linear interpolation.

    y[s] = x[s + shift], zeros outside. A positive shift takes later frames.

    Shape:
        x (B, S, C, H, W), shift (C,). Output as x.
    """
    reach = _reach(x, shift)
    if reach is None:
        return _read(x.transpose(1, 2), shift, 2).transpose(1, 2)
    if reach <= 1:
        return mix_neighbors(x, _taps(shift, 1).t()[:, None, None])
    steps = x.shape[1]
    padded = F.pad(x, (0, 0, 0, 0, 0, 0, reach, reach))
    weights = _taps(shift, reach).to(x.dtype)[..., None, None].unbind(1)
    return torch.stack([w * padded[:, k : k + steps] for k, w in enumerate(weights)]).sum(0)


fx.wrap("shift_space")
fx.wrap("shift_time")


def _reach(x: Tensor, shift: Tensor) -> int | None:
    """Return the largest shift, rounded up. None if it is not known or not small.

    A depth-wise convolution with such a kernel is ten times as fast as reading by index, but the size of a kernel
    cannot depend on values where operations are traced.
    """
    if needs_plain_operations() or x.is_meta or shift.is_meta:
        return None
    largest = shift.detach().abs().amax().ceil().item()
    return int(largest) if largest <= _MAX_REACH else None


def _taps(shift: Tensor, reach: int) -> Tensor:
    """Return the weights of the positions from -reach to reach: (C,) -> (C, 2 reach + 1)."""
    positions = torch.arange(-reach, reach + 1, device=shift.device, dtype=shift.dtype)
    return (1 - (positions - shift[:, None]).abs()).clamp(min=0)


def _read(x: Tensor, shift: Tensor, dim: int, stride: int = 1) -> Tensor:
    """Read x (N, C, ...) along one dimension, by index."""
    size = x.shape[dim]
    whole = shift.detach().floor()
    part = shift - whole
    first = torch.arange(0, size, stride, device=x.device) + whole.long()[:, None]  # (C, size / stride)
    shape = [*x.shape[:dim], first.shape[1], *x.shape[dim + 1 :]]
    own = [1, -1, *(1 for _ in x.shape[2:])]
    own[dim] = first.shape[1]

    def take(index: Tensor, weight: Tensor) -> Tensor:
        inside = (index >= 0) & (index < size)
        rows = x.gather(dim, index.clamp(0, size - 1).view(own).expand(shape))
        return rows * (weight[:, None] * inside).to(x.dtype).view(own)

    return take(first, 1 - part) + take(first + 1, part)


class _UnitGradient(torch.autograd.Function):
    """Identity whose gradient has length 1 in every column, or 0 where it is 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(shift: Tensor) -> Tensor:  # type: ignore[override]
        return shift.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        length = grad.norm(dim=0, keepdim=True)
        return grad / torch.where(length > 0, length, 1)


def _with_unit_gradient(shift: Tensor) -> Tensor:
    if torch.is_grad_enabled() and shift.requires_grad:
        out: Tensor = _UnitGradient.apply(shift)
        return out
    return shift


fx.wrap("_with_unit_gradient")


class RubiksShift(nn.Module):
    """RubiksNet's shift: every channel moves over time, height and width by three learned real numbers.

    Fan et al., 2020 (RubiksNet, ECCV), as in the authors' CUDA kernel: linear interpolation between the eight
    neighbors, zeros outside the clip and the frame, the stride over space applied to the positions.

    As in that kernel, the gradient of a channel's three numbers is divided by its length. So it is no derivative of
    the loss, only its direction. The authors train the shifts with 1 / 100 of the learning rate and no weight decay.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
        stride: over space.
    Shape:
        input (B*S, C, H, W), output (B*S, C, ceil(H / stride), ceil(W / stride)). ``shift`` (3, C): time, height,
        width, from a uniform distribution between -1 and 1.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, stride: int = 1) -> None:
        super().__init__()
        self.num_segments, self.stride = num_segments, stride
        self.shift = nn.Parameter(torch.empty(3, channels).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        shift = _with_unit_gradient(self.shift)
        x = shift_space(x, shift[1:], self.stride)  # first, as the stride leaves less to move
        return shift_time(unfold_time(x, self.num_segments), shift[0]).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.shift.shape[1]}, num_segments={self.num_segments}, stride={self.stride}"


class SpatialShift(nn.Module):
    """:class:`RubiksShift` over height and width only.

    Shape:
        input (N, C, H, W), output (N, C, ceil(H / stride), ceil(W / stride)). ``shift`` (2, C).
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.shift = nn.Parameter(torch.empty(2, channels).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return shift_space(x, _with_unit_gradient(self.shift), self.stride)

    def extra_repr(self) -> str:
        return f"{self.shift.shape[1]}, stride={self.stride}"


class AttentionShift(nn.Module):
    """RubiksNet's attention shift: every channel takes a weighted mean of the previous, this and the next time step.

    Fan et al., 2020, as in the authors' code: the three weights of a channel are the softmax of three numbers, divided
    by their standard deviation and by a temperature. At a low temperature it is a shift by a whole time step. Zeros
    past the ends.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
    Shape:
        input (B*S, C, H, W), output the same. ``weight`` (C, 3). ``temperature`` is a buffer, 2 at the start. The
        authors lower it during training.
    """

    mixes_time = True
    temperature: Tensor

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.weight = nn.Parameter(torch.rand(channels, 3))
        self.register_buffer("temperature", torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.weight / (self.weight.std(1, keepdim=True) + 1e-6) / self.temperature
        return temporal_conv(unfold_time(x, self.num_segments), scores.softmax(1)[None]).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, num_segments={self.num_segments}"
