"""Exact frames of a video file, by PyAV."""

import functools
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from .av_stream import AvStream
from .errors import VideoError
from .exact_frames import ExactFrames
from .limits import TimeLimit
from .nal_units import nal_format
from .packet_index import ONE_FRAME_CODECS, IndexedFrames, PacketIndex, PacketRow, index_file, index_span

# PyAV 17 and later convert colours in as many threads as there are cores, which loader workers use anyway; and a
# converter that had threads when its process was forked hangs where the worker frees it.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


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
        self._span_sec = span_sec
        self._reformatter = VideoReformatter()
        self._open = functools.partial(AvStream, path, member, limit)
        self._exact: ExactFrames | None = None
        self._indexed: IndexedFrames | None = None
        self._stream = self._open()
        try:
            self._begin: list[PacketRow] = []
            first = next(self._stream.frames(self._noted_packets()), None)
            if first is None:
                codec = self._stream.stream.codec_context.name
                raise VideoError(path, f"it has a {codec} video stream, but no frame of it decodes")
        except BaseException:
            self._stream.close()
            raise
        self._first_pts = first.pts
        self._stored_size = (first.width, first.height)
        self._transpose, self._flip_x, self._flip_y = orientation(first)
        self.width, self.height = self._stored_size[:: -1 if self._transpose else 1]
        self.fps = float(self._stream.stream.average_rate or self._stream.stream.guessed_rate or 0)

    @property
    def is_mirrored(self) -> bool:
        """Whether its frames are shown mirrored, not only turned."""
        return self._transpose != (self._flip_x != self._flip_y)

    @property
    def stream_index(self) -> int:
        """Place of the video stream among all streams of the file."""
        return self._stream.stream.index

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of time stamps."""
        return self._stream.stream.time_base or Fraction(1)

    @property
    def has_times(self) -> bool:
        """Whether the file states when its frames are shown."""
        return self._stream.has_times

    def index(self) -> PacketIndex | None:
        """The index of its frames; None where there is none that can be trusted."""
        self._prepare()
        return None if self._indexed is None else self._indexed.index

    def close(self) -> None:
        """Close the file; frames are no longer to be had."""
        self._stream.close()
        if self._exact is not None:
            self._exact.close()

    def count(self) -> int:
        """Number of frames: by the index where there is one, else of those that decode."""
        self._prepare()
        return self._indexed.count() if self._indexed is not None else self._fall_back().count()

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

        self._prepare()
        indices = sorted(slots)
        if self._indexed is not None:
            if indices and indices[-1] >= self._indexed.count():
                raise IndexError(self._indexed.count())
            if self._indexed.read(indices, take):
                return
        self._fall_back().read(indices, take)

    def _noted_packets(self) -> Iterator[Packet]:
        """Packets from the file's start on, noted for the index."""
        nals = nal_format(self._stream.stream.codec_context)
        for packet in self._stream.packets():
            self._begin.append(PacketRow.of(packet, nals))
            yield packet

    def _prepare(self) -> None:
        """Index the file, once."""
        if self._indexed is not None or self._exact is not None:
            return
        index = self._make_index()
        if index is None:
            self._fall_back()
        else:
            self._indexed = IndexedFrames(self._stream, index)

    def _make_index(self) -> PacketIndex | None:
        if self._stream.is_damaged or self._stream.stream.codec_context.codec.canonical_name not in ONE_FRAME_CODECS:
            return None
        if self._span_sec is None:
            return index_file(self._stream, self._begin)
        if not self._stream.has_times:
            return None
        return index_span(self._stream, self._span_sec, self._first_pts)

    def _fall_back(self) -> ExactFrames:
        """Read by decoding from the start, from now on."""
        if self._exact is None:
            self._indexed = None
            self._stream.close()
            self._exact = ExactFrames(self._open(), self._open, self.fps, self._span_sec)
        return self._exact

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) after rotation; alpha is dropped, a frame of another size is scaled to the first one's."""
        width, height = self._stored_size
        try:
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", **ONE_THREAD)
        except (av.FFmpegError, ValueError) as err:
            raise VideoError(self.path, f"a {frame.format.name} frame cannot be turned into RGB ({err})") from err
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        image = rows[:, : width * 3].reshape(height, width, 3)
        if self._transpose:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self._flip_y else 1, :: -1 if self._flip_x else 1]


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror x, mirror y) that turn a stored frame as its display matrix asks.

    FFmpeg's matrix maps (x, y) to (a x + c y, b x + d y), y downwards; angles are taken to the next quarter turn.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(memoryview(matrix))[:20])
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)
