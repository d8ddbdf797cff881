"""Exact frames of a video file, by PyAV."""

import functools
from collections.abc import Iterator, Set
from contextlib import closing
from pathlib import Path

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from .av_stream import AvStream
from .byte_window import Member
from .errors import VideoError
from .exact_frames import ExactFrames
from .frame_clock import mean_rate
from .index_cache import file_key, keep_index, kept_index
from .limits import WorkLimit
from .nal_units import nal_format
from .packet_index import ONE_FRAME_CODECS, IndexedFrames, PacketIndex, PacketRow, index_file, index_span, narrow
from .seek_frames import FrameNotes, SeekDoubtError, can_note, shown_from
from .to_rgb import UprightRgb


class AvFile:
    """Reader of one video file: counts its frames and decodes any of them to RGB.

    Args:
        path: an existing file.
        span_sec: only the frames of [start, end) seconds. None: all.
        member: what part of the file is the video, or its bytes. None: all of it.
        limit: what one open and read may cost.
        index_folder: where indexes are kept on disk, too. None: in memory only.
    Raises:
        VideoError: the file cannot be opened, has no video stream, or no frame of it decodes.
    """

    def __init__(
        self,
        path: Path,
        *,
        span_sec: tuple[float, float] | None = None,
        member: Member | None = None,
        limit: WorkLimit,
        index_folder: Path | None = None,
    ) -> None:
        self.path = path
        self._span_sec, self._member, self._index_folder = span_sec, member, index_folder
        self._key = file_key(path, member)
        self._open = functools.partial(AvStream, path, member, limit)
        self._is_kept = False  # whether the index was kept from an earlier time
        self._notes: FrameNotes | None = None
        self._reading: IndexedFrames | ExactFrames | None = None
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
        self._to_rgb = UprightRgb(path, first)
        self.width, self.height = self._to_rgb.width, self._to_rgb.height
        self._stated_fps = float(self._stream.rate())

    @property
    def fps(self) -> float:
        """Mean frames per second.

        See ``mean_rate``.
        """
        times = self.times() or self._packet_times()
        return mean_rate(self._stated_fps, len(times), max(times, default=0.0) - min(times, default=0.0))

    def _packet_times(self) -> list[float]:
        with closing(self._open()) as stream:
            return [stream.time_of(packet.pts) for packet in stream.packets() if packet.pts is not None]

    def times(self) -> list[float] | None:
        """Return the seconds at which each frame is shown, or None if there is no index that can be trusted."""
        index = self.index()
        return None if index is None else [self._stream.time_of(pts) for pts in index.pts[index.first : index.stop]]

    def index(self) -> PacketIndex | None:
        """Return the index of its frames, or None if there is none that can be trusted."""
        frames = self._frames()
        return frames.index if isinstance(frames, IndexedFrames) else None

    @property
    def damaged(self) -> Set[int]:
        """The frames that show damage, or may, as far as they have been decoded."""
        return self._reading.damaged if isinstance(self._reading, ExactFrames) else frozenset()

    def close(self) -> None:
        """Close the file.

        Frames are no longer to be had.
        """
        self._stream.close()
        if isinstance(self._reading, ExactFrames):
            self._reading.close()

    def count(self) -> int:
        """Return the number of frames: by the index where there is one, else of those that decode."""
        count = self._frames().count()
        index = None if self._notes is None else self._notes.index()
        if index is not None:
            self._keep(index)
            self._notes = None
        return count

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write frame ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            NoSuchFrameError: an index is not below the number of frames.
            VideoError: a frame cannot be had.
        """

        def take(index: int, frame: VideoFrame) -> None:
            out[slots[index]] = self._to_rgb(frame)

        wanted = sorted(slots)
        if not self._frames().read(wanted, take) and not (self._is_kept and self._index_again().read(wanted, take)):
            self._fall_back().read(wanted, take)

    def _noted_packets(self) -> Iterator[Packet]:
        """Yield the packets from the file's start on, noted for the index."""
        nals = nal_format(self._stream.stream.codec_context)
        for packet in self._stream.packets():
            self._begin.append(PacketRow.of(packet, self._stream.place, nals))
            yield packet

    def _frames(self) -> IndexedFrames | ExactFrames:
        """Index the file, once. Without an index it is decoded from before the span, or from its start."""
        if self._reading is None:
            kept = self._kept_index()
            indexed = self._make_index() if kept is None else IndexedFrames(self._stream, kept)
            if indexed is not None:
                self._reading = indexed
            elif self._span_sec is not None:
                self._reading = self._seek_span(self._span_sec) or self._fall_back()
            elif can_note(self._stream):
                self._notes = FrameNotes()
                self._stream.close()
                self._reading = ExactFrames(self._open(), self._open, begin=self._notes.shown)
            else:
                self._reading = self._fall_back()
        return self._reading

    def _kept_index(self) -> PacketIndex | None:
        """Return the index kept from an earlier time, if the file has not changed since."""
        index = None if self._key is None else kept_index(self._key, self._index_folder)
        self._is_kept = index is not None
        return None if index is None else self._narrowed(index)

    def _keep(self, index: PacketIndex) -> None:
        if self._key is not None and self._key == file_key(self.path, self._member):
            keep_index(self._key, index, self._index_folder)

    def _narrowed(self, index: PacketIndex) -> PacketIndex:
        return index if self._span_sec is None else narrow(index, self._stream, self._span_sec)

    def _make_index(self) -> IndexedFrames | None:
        context = self._stream.stream.codec_context
        if self._stream.is_damaged or context.codec.canonical_name not in ONE_FRAME_CODECS:
            return None
        if not self._stream.has_pts and context.has_b_frames:
            return None  # only decoding shows their order
        if self._span_sec is not None and not self._stream.may_be_joined:
            found = index_span(self._stream, self._span_sec, self._first_pts)
            return found and IndexedFrames(self._stream, *found)
        index = index_file(self._stream, self._begin)
        if index is None:
            return None
        self._keep(index)
        return IndexedFrames(self._stream, self._narrowed(index))

    def _index_again(self) -> IndexedFrames | ExactFrames:
        """Read the index again: in some formats FFmpeg finds a packet only after it has read what lies before it."""
        self._is_kept = False
        self._stream.close()
        self._stream, self._begin = self._open(), []
        self._reading = self._make_index() or self._fall_back()
        return self._reading

    def _seek_span(self, span_sec: tuple[float, float]) -> ExactFrames | None:
        """Return the frames of the span, decoded from the keyframe before. None on any doubt."""
        if self._stream.is_damaged or self._stream.may_be_joined or not can_note(self._stream):
            return None
        begin = functools.partial(shown_from, start_sec=span_sec[0], first_pts=self._first_pts)
        stream = self._open()
        try:
            frames = ExactFrames(stream, self._open, span_sec, begin)
            frames.count()  # all are decoded, and so checked
        except SeekDoubtError:
            stream.close()
            return None
        except BaseException:
            stream.close()
            raise
        self._stream.close()
        return frames

    def _fall_back(self) -> ExactFrames:
        """Read by decoding from the start, from now on."""
        if not isinstance(self._reading, ExactFrames):
            self._stream.close()
            self._reading = ExactFrames(self._open(), self._open, self._span_sec)
        return self._reading
