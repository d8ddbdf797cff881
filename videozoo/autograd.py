"""When a custom ``autograd.Function`` is of use, and what it cannot do."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["needs_autograd", "needs_plain_operations", "refuse_second_derivative", "transforms_active"]


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


def needs_autograd(*tensors: Tensor | None) -> bool:
    """Return whether autograd records these tensors now, so that a custom ``autograd.Function`` is of use.

    Never where plain operations are needed (:func:`needs_plain_operations`).
    """
    if not torch.is_grad_enabled() or needs_plain_operations():
        return False
    return any(x is not None and x.requires_grad for x in tensors)


def refuse_second_derivative(layer: str) -> None:
    """Called in the backward pass of a gradient that is not itself differentiable.

    PyTorch's own ``once_differentiable`` says nothing where the gradient that comes in is constant, as that of a sum
    is: what goes out would then count as constant, too, and a gradient penalty would be wrong without a word.

    Raises:
        RuntimeError: the backward pass is recorded (``create_graph=True``).
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{layer}: create_graph=True asks for a gradient that can be differentiated again, which this layer does "
            "not give; use a network without it where second derivatives are needed."
        )
