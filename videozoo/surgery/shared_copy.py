"""Copy of a model that shares its parameters and buffers."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

__all__ = ["shared_copy"]

N = TypeVar("N", bound=nn.Module)


def shared_copy(net: N, tensor: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> N:
    """Copy the modules of a model, but not its parameters and buffers.

    Changes to the modules of the copy (hooks, modes, attributes, replacements) do not affect ``net`` or threads that
    use it at the same time.

    Args:
        net: any module. It is not changed.
        tensor: function that returns the copy's tensor for each parameter and buffer.
    """
    # deepcopy does not copy objects that are in its memo already.
    return copy.deepcopy(net, {id(one): tensor(one) for one in (*net.parameters(), *net.buffers())})
