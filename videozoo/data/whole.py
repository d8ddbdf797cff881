"""All frames of a listed video in their order, once, with their times."""

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Self

import numpy as np
from av.video.frame import VideoFrame

from .av_stream import AvStream
from .errors import VideoError, reading
from .image_folder import ImageFolder
from .limits import WorkLimit
from .records import VideoRecord

# Folders of images have no frame rate: FFmpeg's own choice for them.
IMAGES_FPS = Fraction(25)


class WholeVideo:
    """A record's frames from first to last: those that really decode, of the part that the record names.

    Args:
        record: what ``load_source(...).records`` gives.
    Raises:
        VideoError: it cannot be opened as a video.
    """

    def __init__(self, record: VideoRecord) -> None:
        self.record = record
        self._stream: AvStream | None = None
        self._num_frames = self._num_damaged = 0
        if not record.path.exists():
            raise VideoError(record.path, "no such file or folder")
        if record.path.is_dir():
            if record.span_sec is not None:
                raise VideoError(record.path, "a part of it is asked in seconds, but a folder of images has no times")
            with reading(record.path):
                self._images = ImageFolder(record.path)
            return
        if not os.path.getsize(record.path):
            raise VideoError(record.path, "the file is empty (0 bytes)")
        with reading(record.path):
            # No limit here: how long a whole file may take is settled by who watches over this process.
            self._stream = AvStream(record.path, record.member, WorkLimit(record.path, None))

    @property
    def fps(self) -> Fraction | None:
        """Frames per second as stated; None for images."""
        return None if self._stream is None else self._stream.rate()

    def damage(self) -> str:
        """Return what is wrong with the video as far as it was read, empty where nothing is known to be."""
        found = []
        if self._num_damaged:
            found.append(f"{self._num_damaged} of its {self._num_frames} frames show damage, or may")
        if self._stream is not None:
            is_whole = self.record.span_sec is None and self.record.frame_range is None
            if is_whole and self._stream.is_cut_short():
                found.append("the file is cut short")
            if self._stream.is_damaged:
                found.append("some of its data cannot be decoded")
            elif self._stream.lacks_data:
                found.append("some of its data is missing")
        return ", ".join(found)

    def frames(self) -> Iterator[VideoFrame]:
        """The frames with rising time stamps; images follow each other at ``IMAGES_FPS``.

        Raises:
            VideoError: none is in the part that the record names, an image cannot be read, or the range goes beyond.
        """
        with reading(self.record.path):
            yield from self._of_range()

    def _of_range(self) -> Iterator[VideoFrame]:
        start, stop = self.record.frame_range or (0, None)
        for number, frame in enumerate(self._of_images() if self._stream is None else self._of_span(self._stream)):
            if stop is not None and number >= stop:
                break
            if number >= start:
                self._num_frames += 1
                self._num_damaged += self._stream is not None and self._stream.shows_damage
                yield frame
        if stop is not None and self._num_frames < stop - start:
            raise VideoError(
                self.record.path, f"its frame range {start} to {stop} goes beyond its {start + self._num_frames} frames"
            )
        if not self._num_frames:
            span = self.record.span_sec
            where = f" in its span {span[0]:g} to {span[1]:g} s" if span else ""
            raise VideoError(self.record.path, f"no frame of it decodes{where}")

    def _of_images(self) -> Iterator[VideoFrame]:
        out = np.empty((1, self._images.height, self._images.width, 3), np.uint8)
        for index in range(self._images.count()):
            self._images.read_into({index: [0]}, out)
            frame = VideoFrame.from_ndarray(out[0], format="rgb24")
            frame.pts, frame.time_base = index, 1 / IMAGES_FPS
            yield frame

    def _of_span(self, stream: AvStream) -> Iterator[VideoFrame]:
        start, end = self.record.span_sec or (float("-inf"), float("inf"))
        for frame in stream.shown():
            seconds = stream.time_of(frame.pts or 0)
            if seconds >= end:
                return
            if seconds >= start:
                yield frame

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stamp_of(record: VideoRecord) -> str:
    """What tells whether a video is the one seen before: its place, its part, its file's size and time of change."""
    try:
        status = os.stat(record.path)
        size, changed = status.st_size, status.st_mtime_ns
    except (OSError, ValueError):
        size, changed = -1, -1
    path = os.path.abspath(record.path)
    return json.dumps([path, record.span_sec, record.frame_range, record.member, size, changed])
