"""Batch norm in training with a scale and a shift for every row of frames, in few passes over the maps."""

from typing import Any

import torch
from torch import Tensor

from videozoo.autograd import refuse_second_derivative

__all__ = ["rows_to_frames", "standardise_and_scale"]


def standardise_and_scale(
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
    """Standardise folded maps by the statistics of the batch, then scale and shift every row of frames by its own pair.

    What ``F.batch_norm(x, running_mean, running_var, training=True)`` and a product and a sum after it give, running
    statistics included, by the same kernels. Statistics and gradients are taken about the mean, so nothing cancels
    where the mean is far greater than the deviation. Only x and vectors are kept for the backward pass, which cannot be
    differentiated again. On the CPU alone, in float32 or float64, and not for ``torch.compile``.

    Args:
        x: maps.
        gamma, beta: the pairs.
        row_frames: frames in a row; the last row of a clip may be shorter.
        num_segments: frames S in a clip.
        running_mean, running_var, momentum, eps: as in ``F.batch_norm``; the first two are moved.
    Shape:
        x (B*S, C, H, W), in any memory format, gamma and beta (B, R, C) with R = ceil(S / row_frames); output like x.
    """
    y: Tensor = _StandardiseAndScale.apply(
        x, gamma, beta, row_frames, num_segments, running_mean, running_var, momentum, eps
    )[0]
    return y


def rows_to_frames(v: Tensor, row_frames: int, num_segments: int) -> Tensor:
    """Give every frame its row's vector: (B, R, C) -> (B, S, C)."""
    if v.shape[1] == 1:
        return v.expand(-1, num_segments, -1)
    return v.unsqueeze(2).expand(-1, -1, row_frames, -1).flatten(1, 2)[:, :num_segments]


def _per_frame(v: Tensor, row_frames: int, num_segments: int) -> Tensor:
    return rows_to_frames(v, row_frames, num_segments).flatten(0, 1)[:, :, None, None]


class _StandardiseAndScale(torch.autograd.Function):
    """Forward: mean, squares about it, output. Backward: both sums of every row in one pass, then the gradient."""

    @staticmethod
    def forward(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        row_frames: int,
        num_segments: int,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = torch.batch_norm_update_stats(x, running_mean, running_var, momentum)
        rstd = torch.rsqrt(var + eps)
        scale = gamma * rstd
        shift = beta - mean * scale
        y = torch.addcmul(_per_frame(shift, row_frames, num_segments), x, _per_frame(scale, row_frames, num_segments))
        return y, mean, rstd

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, gamma, _, ctx.row_frames, ctx.num_segments, *_ = inputs
        _, mean, rstd = output
        ctx.mark_non_differentiable(mean, rstd)
        ctx.save_for_backward(x, gamma, mean, rstd)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("DNR")
        x, gamma, mean, rstd = ctx.saved_tensors
        if grad.stride() != x.stride():  # the kernel below is many times slower over two layouts
            grad = torch.empty_like(x).copy_(grad)
        whole, rest = divmod(ctx.num_segments, ctx.row_frames)
        rows = ([ctx.row_frames] * whole + [rest] * (rest > 0)) * gamma.shape[0]
        sums = [
            torch.ops.aten.native_batch_norm_backward(
                g, part, None, None, None, mean, rstd, True, 0.0, [False, True, True]
            )
            for g, part in zip(grad.split(rows), x.split(rows), strict=True)
        ]
        grad_gamma = torch.stack([row[1] for row in sums]).view_as(gamma)  # sum of grad times the standardised x
        grad_beta = torch.stack([row[2] for row in sums]).view_as(gamma)
        grad_x = None
        if ctx.needs_input_grad[0]:
            # grad_x = gamma rstd grad - rstd mean(gamma grad) - rstd x^ mean(gamma grad x^) with x^ = (x - mean) rstd
            count = x.numel() // x.shape[1]
            factor = (gamma * grad_gamma).sum((0, 1)) * rstd.square() / -count
            constant = (gamma * grad_beta).sum((0, 1)) * rstd / -count - factor * mean
            grad_x = torch.addcmul(constant[:, None, None], x, factor[:, None, None])
            grad_x.addcmul_(grad, _per_frame(gamma * rstd, ctx.row_frames, ctx.num_segments))
        return grad_x, grad_gamma, grad_beta, *[None] * 6
