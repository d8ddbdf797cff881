"""Trace a model on tensors without data, so that a count of its operators costs no arithmetic."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["traceable_on_meta"]

_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)


@contextmanager
def traceable_on_meta() -> Iterator[None]:
    """Let ``torch.jit`` trace models whose tensors are on the meta device.

    The tracer turns sizes into tensors. PyTorch's rule for the shape of a convolution fails on these, and it is the
    only one that does. A tracer belongs to its thread, so the shape is computed in another one.

    Raises:
        NotImplementedError: within the block, a convolution pads with ``"same"``.
    """
    with ThreadPoolExecutor(1) as thread, _TracedConvolutions(), _ConvolutionsElsewhere(thread):
        yield


class _TracedConvolutions(TorchFunctionMode):
    """Call each convolution as the operator that the tracer records."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_convolution if func in _CONVOLUTIONS else func)(*args, **(kwargs or {}))


class _ConvolutionsElsewhere(TorchDispatchMode):
    def __init__(self, thread: Executor) -> None:
        super().__init__()
        self._thread = thread

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._convolution.default:
            return self._thread.submit(torch.no_grad()(func), *args, **(kwargs or {})).result()
        return func(*args, **(kwargs or {}))


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    if padding == "same":
        raise NotImplementedError
    sides = weight.dim() - 2

    def each(value: int | Sequence[int]) -> Sequence[int]:
        return (value,) * sides if isinstance(value, int) else value

    sizes = (each(stride), each(0 if padding == "valid" else padding), each(dilation))
    options: Any = (*sizes, False, (0,) * sides, groups, False, False, False, False)
    return cast(Tensor, torch._convolution(x, weight, bias, *options))
