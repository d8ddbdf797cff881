"""Exact frames of a video file, by PyAV."""

import functools
import struct
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from .av_stream import AvStream
from .errors import VideoError
from .exact_frames import ExactFrames
from .limits import TimeLimit


class AvFile:
    """One video file: counts its frames, gives any of them as RGB.

    Args:
        path: an existing file.
        span_sec: only the frames of [start, end) seconds; None: all.
        member: (offset, size) of the video inside the file; None: all of it.
        limit: the time that one open and read may take.
    Raises:
        VideoError: the file cannot be opened, has no video stream, or no frame of it decodes.
    """

    def __init__(
        self,
        path: Path,
        *,
        span_sec: tuple[float, float] | None = None,
        member: tuple[int, int] | None = None,
        limit: TimeLimit,
    ) -> None:
        self.path = path
        self._reformatter = VideoReformatter()
        self._open = functools.partial(AvStream, path, member, limit)
        stream = self._open()
        try:
            first = next(stream.frames(), None)
            if first is None:
                codec = stream.stream.codec_context.name
                raise VideoError(path, f"it has a {codec} video stream, but no frame of it decodes")
            self._stored_size = (first.width, first.height)
            self._transpose, self._flip_x, self._flip_y = _orientation(first)
            self.width, self.height = self._stored_size[:: -1 if self._transpose else 1]
            self.fps = float(stream.stream.average_rate or stream.stream.guessed_rate or 0)
        finally:
            stream.close()
        self._frames = ExactFrames(self._open(), self._open, self.fps, span_sec)

    def close(self) -> None:
        """Close the file; frames are no longer to be had."""
        self._frames.close()

    def count(self) -> int:
        """Number of frames that decode."""
        return self._frames.count()

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write frame ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            IndexError: an index is not below the number of frames; its argument is that number.
            VideoError: a frame cannot be had.
        """

        def take(index: int, frame: VideoFrame) -> None:
            out[slots[index]] = self._to_rgb(frame)

        self._frames.read(sorted(slots), take)

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) after rotation; alpha is dropped, a frame of another size is scaled to the first one's."""
        width, height = self._stored_size
        try:
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        except (av.FFmpegError, ValueError) as err:
            raise VideoError(self.path, f"a {frame.format.name} frame cannot be turned into RGB ({err})") from err
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        image = rows[:, : width * 3].reshape(height, width, 3)
        if self._transpose:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self._flip_y else 1, :: -1 if self._flip_x else 1]


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror x, mirror y) that turn a stored frame as its display matrix asks.

    FFmpeg's matrix maps (x, y) to (a x + c y, b x + d y), y downwards; angles are taken to the next quarter turn.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(memoryview(matrix))[:20])
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)
