"""Batch norm over the batches of all processes, also on the CPU, where torch's own refuses."""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


def sync_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute ``torch.nn.functional.batch_norm``, in training with the statistics of all processes together.

    Every value counts the same, however many of them a process holds. The processes meet once, in the forward and in
    the backward, so all of them must call it equally often.

    Args:
        x: (B, C, ...). B may differ from process to process.
        running_mean, running_var, weight, bias, training, momentum, eps: as there.
    """
    if not training or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    values = x.to(torch.promote_types(x.dtype, torch.float32))  # sums in half precision would be worth nothing
    own_var, own_mean = torch.var_mean(values, [dim for dim in range(x.ndim) if dim != 1], correction=0)
    # In float64, so that nothing is lost in the difference of the squares below.
    own_var, own_mean = own_var.double(), own_mean.double()
    own = torch.cat([own_mean, own_var + own_mean.square(), own_mean.new_ones(1)]) * (x.numel() // x.shape[1])
    sums = _SumOverProcesses.apply(own)
    count = sums[-1].detach()
    mean, square = (sums[:-1] / count).chunk(2)
    var = (square - mean.square()).clamp(min=0)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (count / (count - 1))).to(running_var.dtype), momentum)
    scale = torch.rsqrt(var + eps)
    shift = -mean * scale
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    if bias is not None:
        shift = shift + bias
    shape = [1, -1, *[1] * (x.ndim - 2)]
    return torch.addcmul(shift.to(values.dtype).view(shape), values, scale.to(values.dtype).view(shape)).to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over the processes. The gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        distributed.all_reduce(grad)
        return grad


class CpuSyncBatchNorm(_BatchNorm):
    """Equivalent of ``SyncBatchNorm`` on the CPU, torch's or timm's with an activation.

    Not a subclass of torch's: on the CPU ``DistributedDataParallel`` refuses those.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Standardize over the batches of all processes in training, by the running statistics in evaluation."""
        momentum = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1 / float(self.num_batches_tracked)
        keeps = not self.training or self.track_running_stats
        x = sync_batch_norm(
            x,
            self.running_mean if keeps else None,
            self.running_var if keeps else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
        )
        for name in ("drop", "act"):  # of a BatchNormAct2d
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x
