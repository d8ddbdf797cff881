"""Views through a network, as many at a time as memory allows."""

import logging
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn

from videozoo.engine.errors import EngineError

_log = logging.getLogger(__name__)


class Chunks:
    """One network's forward pass over any number of views, a chunk at a time.

    Where memory runs out the chunk is halved, once and for all, and the views that have no answer yet go on in smaller
    chunks: none is left out and none is answered twice.

    Args:
        model: any network that turns (N, 3, T, H, W) into (N, C), on the accelerator's device.
        size: views of the first chunks.
        prepare: applied to each chunk before the network, such as a normalisation of bytes; None for nothing.
        accelerator: for its precision.
    """

    def __init__(
        self, model: nn.Module, size: int, prepare: Callable[[Tensor], Tensor] | None, accelerator: Accelerator
    ) -> None:
        self.model = model
        self.size = max(1, size)
        self.prepare = prepare
        self.accelerator = accelerator

    def logits(self, views: Tensor) -> Tensor:
        """The network's answers to views (N, 3, T, H, W), float32 (N, C).

        Raises:
            EngineError: there is not even memory for one view.
        """
        answers: list[Tensor] = []
        done = 0
        while done < len(views):
            answer = self._try(views[done : done + self.size])
            if answer is None:
                self._halve(views)
            else:
                answers.append(answer)
                done += len(answer)
        return torch.cat(answers)

    def _try(self, chunk: Tensor) -> Tensor | None:
        """The answers to one chunk; None where memory ran out."""
        try:
            with self.accelerator.autocast():
                answer = self.model(chunk if self.prepare is None else self.prepare(chunk))
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            return None  # not handled here: the error's traceback holds what filled the memory
        if answer.ndim != 2 or len(answer) != len(chunk):
            raise ValueError(
                f"evaluate: the network gave {tuple(answer.shape)} for {len(chunk)} views; needed: a row per view."
            )
        return answer.float()

    def _halve(self, views: Tensor) -> None:
        if self.size == 1 or len(views) == 1:
            shape = " x ".join(str(n) for n in views.shape[1:])
            raise EngineError(
                f"evaluate: out of memory with a single view of {shape}; free memory, take a smaller network, fewer "
                "frames or smaller frames, or evaluate on the CPU."
            )
        self.size = min(self.size, len(views)) // 2
        clear_device_cache(garbage_collection=True)
        words = f"{self.size} views go" if self.size > 1 else "1 view goes"
        _log.warning("out of memory: from here on %s through the network at a time", words)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
