"""Frames out of video files and folders of images, exact and by index."""

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .av_file import AvFile
from .errors import VideoError
from .image_folder import ImageFolder


class VideoReader:
    """Read single frames of a video file, or of a folder of jpg/png frames in natural order.

    Frame ``i`` is the i-th frame in presentation order among those that really decode; damaged ones do not count. Use
    it in a ``with`` statement. Display rotation (and mirroring) is applied; the sample aspect ratio is not, frames stay
    as stored; alpha is dropped; of several video streams the first is read, cover pictures aside.

    Args:
        path: a video file, or a folder of images.
    Raises:
        VideoError: there is no such file, or nothing in it can be read as a video.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._count: int | None = None
        self._is_closed = False
        self._source = _open_source(self.path)

    @property
    def num_frames(self) -> int:
        """Frames that really decode; a file is decoded to its end once to know it, whatever its header says."""
        self._check_open()
        if self._count is None:
            self._count = self._source.count()
        return self._count

    @property
    def fps(self) -> float:
        """Mean frames per second as the container states it; 0.0 where unknown (folders of images)."""
        return self._source.fps

    @property
    def height(self) -> int:
        """Rows of a frame, after rotation."""
        return self._source.height

    @property
    def width(self) -> int:
        """Columns of a frame, after rotation."""
        return self._source.width

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Give frames in the order asked; an index may be repeated.

        Args:
            indices: N frame numbers in [0, num_frames).
        Shape:
            uint8 RGB (N, 3, height, width), in channels_last memory.
        Raises:
            IndexError: an index is negative or past the last frame.
            VideoError: a frame cannot be read.
        """
        self._check_open()
        slots: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            slots.setdefault(operator.index(index), []).append(place)
        out = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        if slots and min(slots) < 0:
            raise IndexError(f"VideoReader.read: frame {min(slots)} asked of {self.path}; frames count from 0.")
        try:
            self._source.read_into(slots, out)
        except IndexError as err:
            raise IndexError(
                f"VideoReader.read: frame {max(slots)} asked of {self.path}, which has {err.args[0]} frames; "
                "sample below reader.num_frames."
            ) from None
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._is_closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"VideoReader: {self.path} is closed; read inside the with statement.")


def read_frames(path: str | os.PathLike[str], indices: Sequence[int] | np.ndarray) -> Tensor:
    """Open a video, read some frames, close it.

    Args:
        path: a video file or a folder of images.
        indices: N frame numbers from 0, in any order, repeats allowed.
    Shape:
        uint8 RGB (N, 3, H, W).
    Raises:
        VideoError: the video cannot be read.
        IndexError: an index is negative or past the last frame.
    """
    with VideoReader(path) as reader:
        return reader.read(indices)


def count_frames(path: str | os.PathLike[str]) -> int:
    """Count the frames of a video that really decode.

    Args:
        path: a video file or a folder of images.
    Raises:
        VideoError: the video cannot be read.
    """
    with VideoReader(path) as reader:
        return reader.num_frames


def _open_source(path: Path) -> AvFile | ImageFolder:
    try:
        if path.is_dir():
            return ImageFolder(path)
        size = path.stat().st_size
    except (OSError, ValueError) as err:
        if isinstance(err, FileNotFoundError):
            raise VideoError(path, "no such file or folder") from None
        reason = getattr(err, "strerror", None) or str(err)
        raise VideoError(path, f"it may not be read ({reason})") from err
    if not path.is_file():
        raise VideoError(path, "neither a file nor a folder")
    if size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")
    return AvFile(path)
