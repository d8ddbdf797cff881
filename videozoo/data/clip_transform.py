"""Any function of a clip as the transform of a data set, such as a ``torchvision.transforms.v2.Compose``."""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from videozoo.devices import one_thread


@dataclass(frozen=True)
class ClipTransform:
    """Change all frames of a clip by one call of a function, so that they share its random draws.

    Args:
        function: takes the clip, uint8 (T, 3, H, W), as torchvision's v2 transforms do, and gives a tensor of bytes or
            floats, (T, 3, H, W) or (3, T, H, W). Where T is 3 the former is assumed.
    Shape:
        uint8 (T, 3, H, W) to (3, T, height, width).
    Raises:
        TypeError, ValueError: the function gave something else. The error names the function.
    """

    function: Callable[[Any], Any]

    def __call__(self, frames: Tensor) -> Tensor:
        # Not a tv_tensors.Video: transforms without a kernel for it (Grayscale) would pass it on as it is.
        video = self.function(frames)
        if not isinstance(video, Tensor):
            given = f"a {type(video).__name__}" + (f" of {len(video)}" if isinstance(video, list | tuple) else "")
            raise TypeError(
                f"{self._words} gave {given}, must give one tensor for the whole clip, (T, 3, H, W) as it came."
            )
        video = video.as_subclass(Tensor)
        if not (video.dtype == torch.uint8 or video.is_floating_point()):
            raise TypeError(f"{self._words} gave {video.dtype}, must give uint8 or floats.")
        count, shape = len(frames), tuple(video.shape)
        if video.ndim == 4 and shape[:2] == (count, 3):
            return video.transpose(0, 1).contiguous()
        if video.ndim == 4 and shape[:2] == (3, count):
            return video.contiguous()
        hint = ""
        if video.ndim == 4 and 3 in shape[:2]:
            hint = "; the data set chooses the frames (num_frames, sampling), leave that out"
        raise ValueError(
            f"{self._words} gave {shape} of a clip of {count} frames, must give ({count}, 3, height, width) or "
            f"(3, {count}, height, width){hint}."
        )

    @property
    def _words(self) -> str:
        text = " ".join(repr(self.function).split())
        return f"VideoDataset: transform {text if len(text) <= 200 else f'{text[:197]}...'}"


def find_clip_transform(transform: Callable[..., Any]) -> ClipTransform | None:
    """Return a function of a clip alone as a transform, None for one that takes the label too.

    Raises:
        TypeError: it cannot be called, or with neither.
    """
    try:
        called = transform.forward if isinstance(transform, nn.Module) else transform
        parameters = inspect.signature(called).parameters.values()
    except ValueError:  # built-in functions may have none
        return ClipTransform(transform)
    except TypeError as error:
        raise TypeError(f"VideoDataset: transform is {transform!r}, must be a function of a clip.") from error
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in named if p.default is p.empty]
    takes_label = len(required) == 2 or (len(named) > 1 and named[1].name == "label")
    if not takes_label and (len(required) > 1 or not (named or any(p.kind == p.VAR_POSITIONAL for p in parameters))):
        raise TypeError(f"VideoDataset: transform is {transform!r}, must take a clip, or a clip and its label.")
    return None if takes_label else ClipTransform(transform)


@contextmanager
def draws_from(seed: int) -> Iterator[None]:
    """Seed torch, NumPy and Python inside, on one thread, and leave their global states as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), one_thread():  # as in a worker: the last bit of a sum depends on it
        # Not torch.manual_seed: that would also seed the accelerators, which fork_rng does not restore here.
        torch.default_generator.manual_seed(seed >> 1)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
