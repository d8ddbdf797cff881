"""Clips through a model, as many at a time as memory allows."""

import logging
from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

_log = logging.getLogger(__name__)


class BatchedForward:
    """A forward pass over any number of clips, some at a time.

    Where memory runs out their number is halved, once and for all, and the clips that have no answer yet go on: none is
    left out and none is answered twice.

    Args:
        forward: turns clips (N, ...) into a row each, (N, F).
        size: clips of the first passes.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], size: int) -> None:
        self.forward, self.size = forward, size

    def __call__(self, clips: Tensor) -> Tensor:
        """Return the answers (N, F) to clips (N, ...). An error if there is not even memory for one clip."""
        answers: list[Tensor] = []
        done = 0
        while done < len(clips):
            some = clips[done : done + self.size]
            try:
                answers.append(self.forward(some))
            except Exception as error:
                if len(some) == 1 or not is_out_of_memory(error):
                    raise
            else:
                done += len(some)
                continue
            self.size = len(some) // 2
            # Out of the handler: the error's traceback holds what filled the memory.
            clear_device_cache(garbage_collection=True)
            words = f"{self.size} views go" if self.size > 1 else "1 view goes"
            _log.warning("out of memory: from here on %s through the model at a time", words)
        return torch.cat(answers)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or should_reduce_batch_size(error)
