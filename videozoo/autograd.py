"""Gradients written by hand: when one is taken, and when autograd differentiates plain operations instead."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["OwnGradient", "needs_plain_operations", "transforms_active"]


def transforms_active() -> bool:
    """Return whether a transform of ``torch.func`` (vmap, grad, jvp, ...) or forward-mode differentiation runs now."""
    if torch.compiler.is_compiling():  # a compiler traces the transforms itself
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def needs_plain_operations() -> bool:
    """Return whether a compiler, an exporter, a tracer or a transform of ``torch.func`` runs now.

    They differentiate, batch and fuse plain operators. A custom ``autograd.Function`` and writes into buffers are
    closed to them.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transforms_active()


class OwnGradient:
    """An operation with a gradient written by hand, which is worth it: ``benchmarks/gradients.py`` measures how much.

    A subclass has three static methods on the same inputs, which are tensors and others:

    * ``plain(*inputs)``: the reference, in operations that autograd differentiates. It is what runs for compilers,
      tracers and ``torch.func``, and what is differentiated where a gradient is to be differentiated again.
    * ``run(kept, *inputs)``: the same, fast. Tensors that the gradient needs beside the inputs are appended to the list
      ``kept``. It is None where nothing is recorded.
    * ``gradient(grad, needed, kept, *inputs)``: from the gradient of the output one for each input, or None. ``needed``
      says which are required.

    A linear operation says ``is_linear``: its gradient does not depend on the inputs, of which nothing is kept then
    (tensors are None in ``gradient``), and is differentiable itself.
    """

    is_linear = False
    plain: Callable[..., Tensor]
    run: Callable[..., Tensor]
    gradient: Callable[..., tuple[Tensor | None, ...]]

    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        """Compute the output of ``inputs``, in the form that suits who asks."""
        if needs_plain_operations():
            return cls.plain(*inputs)
        if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            out: Tensor = _Function.apply(cls, *inputs)
            return out
        return cls.run(None, *inputs)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: type[OwnGradient], *inputs: Any) -> Tensor:
        kept: list[Tensor] = []
        out = own.run(kept, *inputs)
        ctx.own = own
        ctx.others = [None if isinstance(x, Tensor) else x for x in inputs]
        ctx.save_for_backward(*(x if isinstance(x, Tensor) and not own.is_linear else None for x in inputs), *kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        saved, count, needed = ctx.saved_tensors, len(ctx.others), ctx.needs_input_grad[1:]
        inputs = [other if x is None else x for x, other in zip(saved[:count], ctx.others, strict=True)]
        if ctx.own.is_linear or not torch.is_grad_enabled():
            return None, *ctx.own.gradient(grad, needed, saved[count:], *inputs)
        wanted = [x for x, is_needed in zip(inputs, needed, strict=True) if is_needed]
        found = iter(torch.autograd.grad(ctx.own.plain(*inputs), wanted, grad, create_graph=True))
        return None, *(next(found) if is_needed else None for is_needed in needed)
