"""All frames of a video in their order, once, with their times."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
from av.video.frame import VideoFrame

from .av_stream import AvStream
from .errors import VideoError, reading
from .file_warnings import describe_oddities
from .limits import WorkLimit
from .memory_frames import Frames, open_images

# Folders of images have no frame rate: FFmpeg's own choice for them.
IMAGES_FPS = Fraction(25)


class WholeVideo:
    """The frames of a video from first to last: those that really decode.

    Args:
        path, span_sec, frame_range, member, content: as for :class:`VideoReader`.
    Raises:
        VideoError: it cannot be opened as a video.
    """

    def __init__(
        self,
        path: Path,
        *,
        span_sec: tuple[float, float] | None = None,
        frame_range: tuple[int, int] | None = None,
        member: tuple[int, int] | None = None,
        content: bytes | Frames | None = None,
    ) -> None:
        self.path, self._span_sec, self._frame_range = path, span_sec, frame_range
        self._stream: AvStream | None = None
        self._num_frames = self._num_damaged = 0
        with reading(path):
            self._images = open_images(path, span_sec, content)
            if self._images is None:
                # No limit here: how long a whole file may take is settled by who watches over this process.
                part = content if isinstance(content, bytes) else member
                self._stream = AvStream(path, part, WorkLimit(path, None))

    @property
    def fps(self) -> Fraction | None:
        """Frames per second as stated.

        None for images.
        """
        return None if self._stream is None else self._stream.rate()

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel as it is stored over its height.

        Frames are given without it.
        """
        return (self._stream and self._stream.stream.sample_aspect_ratio) or Fraction(1)

    @property
    def note(self) -> str:
        """Return the oddities of the video as far as it was read, empty if there are none."""
        faults = []
        if self._stream is not None:
            is_whole = self._span_sec is None and self._frame_range is None
            if is_whole and self._stream.is_cut_short():
                faults.append("the file is cut short")
            if self._stream.is_damaged:
                faults.append("some of its data cannot be decoded")
            elif self._stream.lacks_data:
                faults.append("some of its data is missing")
        is_still = self._frame_range is None and self._num_frames == 1
        return describe_oddities(self._num_damaged, f"{self._num_frames} frames", faults, is_still=is_still)

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames with rising time stamps.

        Images follow each other at ``IMAGES_FPS``.

        Raises:
            VideoError: none is in the part that is asked, an image cannot be read, or the range goes beyond.
        """
        with reading(self.path):
            yield from self._of_range()

    def _of_range(self) -> Iterator[VideoFrame]:
        start, stop = self._frame_range or (0, None)
        frames = self._of_span(self._stream) if self._stream is not None else self._of_images(self._images)
        for number, frame in enumerate(frames):
            if stop is not None and number >= stop:
                break
            if number >= start:
                self._num_frames += 1
                self._num_damaged += self._stream is not None and self._stream.shows_damage
                yield frame
        if stop is not None and self._num_frames < stop - start:
            raise VideoError(
                self.path, f"its frame range {start} to {stop} goes beyond its {start + self._num_frames} frames"
            )
        if not self._num_frames:
            span = self._span_sec
            where = f" in its span {span[0]:g} to {span[1]:g} s" if span else ""
            raise VideoError(self.path, f"no frame of it decodes{where}")

    def _of_images(self, images: Any) -> Iterator[VideoFrame]:
        out = np.empty((1, images.height, images.width, 3), np.uint8)
        for index in range(images.count()):
            images.read_into({index: [0]}, out)
            frame = VideoFrame.from_ndarray(out[0], format="rgb24")
            frame.pts, frame.time_base = index, 1 / IMAGES_FPS
            yield frame

    def _of_span(self, stream: AvStream) -> Iterator[VideoFrame]:
        start, end = self._span_sec or (float("-inf"), float("inf"))
        for seconds, frame in stream.shown():
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

    def __exit__(self, *_: object) -> None:
        self.close()
