"""When an own gradient is of use, and what it cannot do."""

import torch
from torch import Tensor

__all__ = ["needs_autograd", "refuse_second_derivative"]


def needs_autograd(*tensors: Tensor | None) -> bool:
    """Whether autograd records what becomes of these tensors now, so that an own gradient is of use.

    Never while a compiler, an exporter or a tracer looks on: those differentiate the plain operators, and fuse them.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not torch.is_grad_enabled():
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
