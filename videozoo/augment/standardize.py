"""Training-mode batch norm with one scale and shift per row of frames, in few passes over memory."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from videozoo.autograd import CustomGradient
from videozoo.shapes import per_frame

__all__ = ["rows_to_frames", "standardize_and_scale"]


class _Moving(NamedTuple):
    """Running statistics, and the momentum and eps of the batch norm."""

    mean: Tensor
    var: Tensor
    momentum: float
    eps: float


def standardize_and_scale(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    row_frames: int,
    num_segments: int,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    """Standardize folded maps by batch statistics, then apply one scale and shift per row of consecutive frames.

    Equals ``F.batch_norm(x, running_mean, running_var, training=True)`` followed by a product and a sum, including the
    update of the running statistics. It uses the same kernels. Statistics and gradients are computed about the mean, so
    they stay accurate if the mean is much larger than the deviation. Only x and vectors are saved for the backward
    pass. It supports the CPU in float32 and float64, without ``torch.compile``.

    Args:
        x: maps.
        gamma, beta: scale and shift of each row.
        row_frames: frames in a row. The last row of a clip may be shorter.
        num_segments: frames S in a clip.
        running_mean, running_var, momentum, eps: as in ``F.batch_norm``. The first two are updated in place.
    Shape:
        x (B*S, C, H, W), in any memory format, gamma and beta (B, R, C) with R = ceil(S / row_frames). Output like x.
    """
    moving = _Moving(running_mean, running_var, momentum, eps)
    return _StandardizeAndScale.apply(x, gamma, beta, (row_frames, num_segments), moving)


def rows_to_frames(v: Tensor, row_frames: int, num_segments: int) -> Tensor:
    """Repeat the vector of each row for its frames: (B, R, C) -> (B, S, C)."""
    if v.shape[1] == 1:
        return v.expand(-1, num_segments, -1)
    return v.unsqueeze(2).expand(-1, -1, row_frames, -1).flatten(1, 2)[:, :num_segments]


def _per_frame(v: Tensor, row_frames: int, num_segments: int) -> Tensor:
    return per_frame(rows_to_frames(v, row_frames, num_segments), num_segments)


class _StandardizeAndScale(CustomGradient):
    """:func:`standardize_and_scale`, with the sums of all rows in one pass in the backward."""

    @staticmethod
    def plain(x: Tensor, gamma: Tensor, beta: Tensor, rows: tuple[int, int], moving: _Moving) -> Tensor:
        # Without the running statistics: the forward pass has updated them already.
        x = F.batch_norm(x, None, None, training=True, eps=moving.eps)
        return torch.addcmul(_per_frame(beta, *rows), x, _per_frame(gamma, *rows))

    @staticmethod
    def run(
        kept: list[Tensor] | None, x: Tensor, gamma: Tensor, beta: Tensor, rows: tuple[int, int], moving: _Moving
    ) -> Tensor:
        mean, var = torch.batch_norm_update_stats(x, moving.mean, moving.var, moving.momentum)
        rstd = torch.rsqrt(var + moving.eps)
        if kept is not None:
            kept += [mean, rstd]
        scale = gamma * rstd
        return torch.addcmul(_per_frame(beta - mean * scale, *rows), x, _per_frame(scale, *rows))

    @staticmethod
    def gradient(
        grad: Tensor, needed: Any, kept: Any, x: Tensor, gamma: Tensor, _: Tensor, rows: tuple[int, int], __: _Moving
    ) -> tuple[Tensor | None, ...]:
        mean, rstd = kept
        if grad.stride() != x.stride():  # the kernel below is many times slower with mixed layouts
            grad = torch.empty_like(x).copy_(grad)
        row_frames, num_segments = rows
        whole, rest = divmod(num_segments, row_frames)
        sizes = ([row_frames] * whole + [rest] * (rest > 0)) * gamma.shape[0]
        sums = [
            torch.ops.aten.native_batch_norm_backward(
                g, part, None, None, None, mean, rstd, True, 0.0, [False, True, True]
            )
            for g, part in zip(grad.split(sizes), x.split(sizes), strict=True)
        ]
        grad_gamma = torch.stack([row[1] for row in sums]).view_as(gamma)  # sum of grad * standardized x
        grad_beta = torch.stack([row[2] for row in sums]).view_as(gamma)
        grad_x = None
        if needed[0]:
            # grad_x = gamma rstd grad - rstd mean(gamma grad) - rstd x^ mean(gamma grad x^) with x^ = (x - mean) rstd
            count = x.numel() // x.shape[1]
            factor = (gamma * grad_gamma).sum((0, 1)) * rstd.square() / -count
            constant = (gamma * grad_beta).sum((0, 1)) * rstd / -count - factor * mean
            grad_x = torch.addcmul(constant[:, None, None], x, factor[:, None, None])
            grad_x.addcmul_(grad, _per_frame(gamma * rstd, *rows))
        return grad_x, grad_gamma, grad_beta, None, None
