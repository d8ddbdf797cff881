"""Operations with a hand-written gradient (a custom ``autograd.Function``) and a plain form for compilers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["CustomGradient", "needs_plain_operations", "transforms_active"]


def transforms_active() -> bool:
    """Return whether a transform of ``torch.func`` (vmap, grad, jvp, ...) or forward-mode differentiation runs now."""
    if torch.compiler.is_compiling():  # a compiler traces the transforms itself
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def needs_plain_operations() -> bool:
    """Return whether a compiler, an exporter, a tracer or a transform of ``torch.func`` runs now.

    They need plain operators: they cannot differentiate, batch or fuse a custom ``autograd.Function`` or writes into
    buffers.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transforms_active()


class CustomGradient:
    """Base of operations with a hand-written gradient that is faster than autograd's (``benchmarks/gradients.py``).

    A subclass has three static methods that take the same inputs, tensors and others:

    * ``plain(*inputs)``: the reference, in operations that autograd can differentiate. Compilers, tracers and
      ``torch.func`` run it. Second derivatives use it too.
    * ``run(kept, *inputs)``: the fast version. It appends to the list ``kept`` the tensors that the gradient needs
      besides the inputs. ``kept`` is None when no gradient is recorded.
    * ``gradient(grad, needed, kept, *inputs)``: returns one gradient, or None, for each input, given the gradient of
      the output. ``needed`` holds one flag per input: whether its gradient is required.

    ``is_linear`` marks a linear operation. Its gradient does not depend on the inputs, so no input tensor is saved
    (``gradient`` gets None in place of each), and the gradient is differentiable itself.
    """

    is_linear = False
    plain: Callable[..., Tensor]
    run: Callable[..., Tensor]
    gradient: Callable[..., tuple[Tensor | None, ...]]

    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        """Return the output: from ``plain`` for compilers and transforms, from ``run`` otherwise."""
        if needs_plain_operations():
            return cls.plain(*inputs)
        if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            out: Tensor = _Function.apply(cls, *inputs)
            return out
        return cls.run(None, *inputs)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: type[CustomGradient], *inputs: Any) -> Tensor:
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
