"""Faster training steps that change no key: memory layout of the weights, and compilation."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from videozoo.engine.errors import TrainingError
from videozoo.text import first_line


def use_channels_last(net: nn.Module) -> None:
    """Lay out 4-D and 5-D weights with the channels innermost.

    Convolutions then keep their clips so too.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in chain(net.parameters(), net.buffers()):
        if tensor.ndim in formats:
            tensor.data = tensor.data.contiguous(memory_format=formats[tensor.ndim])


def compile_forward(net: nn.Module) -> None:
    """Compile a model's ``forward`` in place: modules and keys stay as they are.

    Deleting the attribute undoes it.
    """
    forward = net.forward
    compiled = torch.compile(forward)

    @functools.wraps(forward)
    def run(*args: object, **kwargs: object) -> object:
        return compiled(*args, **kwargs)

    net.forward = run  # type: ignore[method-assign]


@contextmanager
def explain_compiler(is_on: bool) -> Iterator[None]:
    """Distinguish a failure of the compiler from one of the model.

    Raises:
        TrainingError: torch.compile could not do it.
    """
    try:
        yield
    except Exception as error:
        if is_on and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            first = first_line(error) or type(error).__name__
            raise TrainingError(
                f"fit: torch.compile could not compile the model ({first}); train without compile."
            ) from error
        raise
