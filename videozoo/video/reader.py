"""Exact frames of a video file, a folder of images or a video in memory, by index."""

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .av_file import AvFile
from .errors import NoSuchFrameError, VideoError, reading
from .file_warnings import describe_oddities
from .index_cache import default_folder
from .limits import WorkLimit, default_max_frames
from .memory_frames import Frames, open_images


class VideoReader:
    """Reader of exact frames of a video file, or of a folder of jpg/png frames in natural order.

    Frame ``i`` is the i-th frame in presentation order among those that really decode. A frame that decodes with errors
    counts, with the pixels that FFmpeg makes of it, and ``num_damaged`` counts how many were read. Use the reader in a
    ``with`` statement. Display rotation (and mirroring) is applied. The sample aspect ratio is not applied, frames have
    the size in which they are stored. Alpha is dropped. If there are several video streams the first is read, cover
    pictures aside.

    Args:
        path: a video file, a folder of images, or a tar shard that holds the video (``member``).
        span_sec: only the frames shown in [start, end) seconds, counted from the start of the file as ffmpeg's ``-ss``
            does. An end past that of the file is cut. Frames are then numbered from the first of the span.
        frame_range: only the frames [start, stop), numbered from the first of these. Not together with ``span_sec``.
        member: (offset, size) in bytes of the video inside ``path``.
        content: the video itself if it is in memory: the bytes of a file, or frames as `MemoryFrames` takes them.
            ``path`` is then its name in errors.
        max_frames: frames that opening the file and one read may decode together. None: ``VIDEOZOO_MAX_FRAMES``, else
            200,000.
        index_cache: folder that keeps the indexes of files for later runs and other processes. None:
            ``VIDEOZOO_INDEX_CACHE``, else they are kept in the memory of this process only.
    Raises:
        ValueError: an empty span or range, or both.
        VideoError: there is no such file, it cannot be read as a video, or it is too long. Later, from ``num_frames``
            and ``read``: the range goes beyond the file, or the span has no frame.
    Example:
        >>> from videozoo.video import VideoReader
        >>> with VideoReader("clip.mp4") as reader:
        ...     frames = reader.read([0, reader.num_frames - 1])
        >>> frames.shape, frames.dtype
        (torch.Size([2, 3, 48, 48]), torch.uint8)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        span_sec: tuple[float, float] | None = None,
        frame_range: tuple[int, int] | None = None,
        member: tuple[int, int] | None = None,
        content: bytes | Frames | None = None,
        max_frames: int | None = None,
        index_cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if span_sec is not None and frame_range is not None:
            raise ValueError("VideoReader: span_sec and frame_range were both given; pass one of them.")
        if span_sec is not None and not span_sec[0] < span_sec[1]:
            raise ValueError(f"VideoReader: span_sec is {span_sec}; its end must lie after its start.")
        if frame_range is not None and not 0 <= frame_range[0] < frame_range[1]:
            raise ValueError(f"VideoReader: frame_range is {frame_range}; needed are 0 <= start < stop.")
        self.path = Path(path)
        self._span_sec, self._frame_range = span_sec, frame_range
        self._is_closed = False
        self._damaged: set[int] = set()
        self._limit = WorkLimit(self.path, max_frames or default_max_frames())
        with reading(self.path):
            images = open_images(self.path, span_sec, content)
            self._source = images or AvFile(
                self.path,
                span_sec=span_sec,
                member=content if isinstance(content, bytes) else member,
                limit=self._limit,
                index_folder=default_folder() if index_cache is None else Path(index_cache),
            )

    @property
    def num_frames(self) -> int:
        """Number of frames that can be read, which may change after a read.

        It is counted without decoding if the file seems complete. If a read finds a frame that does not decode, the
        whole file is decoded, and from then on this is the number of frames that really do.
        """
        self._check_open()
        with reading(self.path):
            total = self._source.count()
        if self._frame_range is None:
            if not total:
                raise VideoError(self.path, f"no frame of it is shown in its span {_text(self._span_sec)} s")
            return total
        start, stop = self._frame_range
        if stop > total:
            raise VideoError(self.path, f"its frame range {_text(self._frame_range)} goes beyond its {total} frames")
        return stop - start

    @property
    def fps(self) -> float:
        """Mean frames per second according to the container, 0.0 if unknown (folders of images)."""
        return self._source.fps

    @property
    def num_damaged(self) -> int:
        """Number of frames read so far that decoded with errors, or after such a frame up to a keyframe."""
        return len(self._damaged)

    @property
    def note(self) -> str:
        """Oddities of the frames read so far, or an empty text."""
        is_still = self._frame_range is None and self._source.count() == 1
        return describe_oddities(len(self._damaged), "frames that were read", is_still=is_still)

    @property
    def height(self) -> int:
        """Rows of a frame, after rotation."""
        return self._source.height

    @property
    def width(self) -> int:
        """Columns of a frame, after rotation."""
        return self._source.width

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Return frames in the given order, repeated indices included.

        Args:
            indices: N frame numbers in [0, num_frames).
        Shape:
            uint8 RGB (N, 3, height, width), in channels_last memory.
        Raises:
            IndexError: an index is negative or past the last frame, or one below the former ``num_frames`` of a damaged
                file, whose ``num_frames`` is right from then on.
            VideoError: a frame cannot be read.
        """
        self._check_open()
        wanted = [operator.index(index) for index in indices]
        if wanted and min(wanted) < 0:
            raise IndexError(f"VideoReader.read: frame {min(wanted)} asked of {self.path}; frames count from 0.")
        start = 0
        if self._frame_range is not None:
            start = self._frame_range[0]
            self._check_below(wanted, self.num_frames)
        slots: dict[int, list[int]] = {}
        for place, index in enumerate(wanted):
            slots.setdefault(start + index, []).append(place)
        try:
            with reading(self.path):
                out = np.empty((len(wanted), self.height, self.width, 3), np.uint8)
                self._source.read_into(slots, out)
                self._damaged |= slots.keys() & self._source.damaged
        except NoSuchFrameError as err:
            if self._frame_range is not None:
                _ = self.num_frames  # the file is shorter than it seemed: says that the range goes beyond it
            self._check_below(wanted, err.num_frames - start)
            raise
        self._limit.renew()
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def close(self) -> None:
        """Close the file.

        May be called again.
        """
        self._is_closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_below(self, wanted: list[int], count: int) -> None:
        if wanted and max(wanted) >= count:
            raise IndexError(
                f"VideoReader.read: frame {max(wanted)} asked of {self.path}, which has {count} frames; "
                "sample below reader.num_frames."
            )

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


def _text(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}"
