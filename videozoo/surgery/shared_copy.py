"""A copy of a model's modules that shares its tensors."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

__all__ = ["shared_copy"]

N = TypeVar("N", bound=nn.Module)


def shared_copy(net: N, tensor: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> N:
    """Copy the modules of a model, not its parameters and buffers.

    What is done to the copy's modules (hooks, modes, attributes, replacements) is not seen by ``net``, nor by threads
    that use it at the same time.

    Args:
        net: any module. It stays as it is.
        tensor: function that returns the copy's tensor for each parameter and buffer.
    """
    # What deepcopy is told to have copied already, it takes.
    return copy.deepcopy(net, {id(one): tensor(one) for one in (*net.parameters(), *net.buffers())})
