"""Frames that are in memory already, read as a video."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from videozoo.text import cause

from .errors import VideoError
from .image_folder import ImageFolder, is_frame_folder, place_images, to_rgb
from .limits import check_frame_size

# Frames of a video: (T, H, W, 3) or (T, 3, H, W), or images one by one.
Frames = np.ndarray | Tensor | Sequence[Any]


def open_images(
    path: Path, span_sec: tuple[float, float] | None, content: bytes | Frames | None
) -> "ImageFolder | MemoryFrames | None":
    """Return the frames of a folder of images, or those in memory, or None if the video is a file or its bytes.

    Args:
        path, span_sec, content: as for :class:`VideoReader`.
    Raises:
        VideoError: there are no frames, or no file. Or a part in seconds is asked of frames, which have no times.
    """
    if isinstance(content, bytes):
        if not content:
            raise VideoError(path, "it is empty (0 bytes)")
        return None
    if content is not None:
        if span_sec is not None:
            raise VideoError(path, "a part of it is asked in seconds, but frames in memory have no times")
        return MemoryFrames(path, content)
    return ImageFolder(path) if is_frame_folder(path, span_sec) else None


class MemoryFrames:
    """The frames of an array, a tensor or a sequence of images.

    They have no times.

    Args:
        path: the name that errors give them.
        frames: uint8 RGB (T, H, W, 3) or (T, 3, H, W), or a sequence of images of one size: Pillow's, or uint8 RGB
            (H, W, 3) or (3, H, W). Values are taken as they are, 0 to 255. Pillow's images are turned as their EXIF
            says, their alpha is dropped.
    Raises:
        VideoError: they are of another type or shape, or there are none.
    """

    fps = 0.0
    damaged: frozenset[int] = frozenset()

    def __init__(self, path: Path, frames: Frames) -> None:
        self.path = path
        self._frames: Sequence[Any] | np.ndarray
        if isinstance(frames, np.ndarray | Tensor):
            self._frames = self._channels_last(_as_array(frames), "TCHW")
        elif isinstance(frames, list | tuple):
            self._frames = frames
        else:
            raise VideoError(path, f"a single {type(frames).__name__} is no video; give a list of pictures")
        if not len(self._frames):
            raise VideoError(path, "there are no frames in it")
        self.height, self.width = self._load(0).shape[:2]
        check_frame_size(path, self.width, self.height)
        if not self.height * self.width:
            raise VideoError(path, f"its frames are empty ({self.width}x{self.height})")

    def close(self) -> None:
        """Nothing is kept open."""

    def count(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write frame ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            NoSuchFrameError: an index is not below the number of frames.
            VideoError: a frame is no image, or not of the first one's size.
        """
        place_images(self.path, self._load, self.count(), slots, out, "frame {}".format)

    def _load(self, index: int) -> np.ndarray:
        frame = self._frames[index]
        if isinstance(self._frames, np.ndarray):
            return np.asarray(frame)
        if isinstance(frame, np.ndarray | Tensor):
            return self._channels_last(_as_array(frame), "CHW", f"frame {index} is")
        if not isinstance(frame, Image.Image):
            raise VideoError(
                self.path, f"frame {index} is a {type(frame).__name__}; give Pillow images or uint8 arrays"
            )
        try:
            check_frame_size(self.path, *frame.size)
            return to_rgb(ImageOps.exif_transpose(frame), frame.format)
        except VideoError:
            raise
        except Exception as err:  # Pillow reads a file only now, and raises a dozen kinds
            raise VideoError(self.path, f"frame {index} cannot be read ({type(err).__name__}, {cause(err)})") from err

    def _channels_last(self, array: np.ndarray, layout: str, what: str = "frames are") -> np.ndarray:
        """Return (..., H, W, 3) of an array that has its channels last, or before height and width."""
        shape = tuple(array.shape)
        told = f"{what} {array.dtype} {shape}"
        last = f"{layout.replace('C', '')}C"
        needed = f"needed is uint8 ({', '.join(last).replace('C', '3')}) or ({', '.join(layout).replace('C', '3')})"
        hint = ""
        if array.dtype != np.uint8:
            hint = ", values 0 to 255"
        elif array.ndim == len(layout) - 1 == 3 and 3 in (shape[0], shape[-1]):
            hint = "; of a single picture, give frames[None]"
        elif array.ndim == len(layout) + 1:
            hint = "; give several videos as a list"
        elif array.ndim == len(layout):
            is_last, is_first = shape[-1] == 3, shape[-3] == 3
            if is_last and is_first:
                hint = "; which of the two sides of 3 the channels are cannot be told"
            elif is_last or is_first:
                return array if is_last else np.moveaxis(array, -3, -1)
            elif 4 in (shape[-1], shape[-3]):
                hint = "; drop the alpha channel"
        raise VideoError(self.path, f"{told}; {needed}{hint}")


def _as_array(frames: np.ndarray | Tensor) -> np.ndarray:
    return frames if isinstance(frames, np.ndarray) else frames.detach().cpu().numpy()
