"""Frames of a video file by the time stamps of its packets: only what is needed is decoded."""

import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from av.packet import Packet
from av.video.frame import VideoFrame

from .av_stream import AvStream, Place
from .errors import NoSuchFrameError
from .exact_frames import TakeFrame
from .nal_units import NalFormat, nal_format

# Codecs of which a packet holds exactly one frame that is shown. (VP8, Theora and others have packets that show none.)
ONE_FRAME_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "mjpeg", "prores", "ffv1", "gif"})
# Of MPEG-4: a start code and a header, whose length depends on the time base.
NOT_CODED_BYTES = 12
# A seek must save at least this many frames of decoding.
SEEK_GAIN_FRAMES = 4
# Packets of a span that are kept, once it is indexed, so that they need not be read again, in bytes.
KEEP_BYTES = 32 * 2**20
# Seconds before a keyframe that are tried where a seek ends behind it.
SEEK_BACK_SEC = (0, 1, 8)


class PacketRow(NamedTuple):
    """Row of a packet in the index.

    Args:
        pts, dts: time stamps. None: not stated.
        place: where a seek finds it.
        is_key: decoding can start here.
        is_odd: the packet is damaged, or not to be shown.
        is_unreferenced: no other frame needs this one.
    """

    pts: int | None
    dts: int | None
    place: Place
    is_key: bool
    is_odd: bool
    is_unreferenced: bool

    @classmethod
    def of(cls, packet: Packet, place: Place, nals: NalFormat | None) -> "PacketRow":
        """Return the row of a packet."""
        is_whole, is_unreferenced = (True, False) if nals is None else nals.look(packet)
        is_odd = packet.is_corrupt or packet.is_discard or not is_whole or _may_show_nothing(packet)
        return cls(packet.pts, packet.dts, place, packet.is_keyframe, is_odd, is_unreferenced)


def _may_show_nothing(packet: Packet) -> bool:
    """Return True for packets as small as those by which MPEG-4 says that a frame was not coded."""
    return packet.size <= NOT_CODED_BYTES and packet.stream.codec_context.codec.canonical_name == "mpeg4"


@dataclass(frozen=True)
class PacketIndex:
    """The frames of a file, or of the part around a span, in the order shown.

    Many are kept, so it is small.

    Args:
        pts: their time stamps, ascending.
        keys: places in ``pts`` of those at which decoding can start. The first one is 0.
        seeks: for each key, where a seek finds its packet: stamp, byte (-1: not known) and shift of a ``Place``.
        unreferenced: for each frame 1 if no other frame needs it, else 0.
        first, stop: places in ``pts`` of the frames that can be read.
    """

    pts: "array[int]"
    keys: "array[int]"
    seeks: "array[int]"
    unreferenced: bytes
    first: int
    stop: int

    @classmethod
    def of(cls, pts: list[int], keys: dict[int, Place], unreferenced: bytes) -> "PacketIndex":
        """Return the index of all frames, from where the packets of the keys are."""
        seeks = array("q")
        for stamp, byte, shift in keys.values():
            seeks.extend((stamp, -1 if byte is None else byte, shift))
        return cls(array("q", pts), array("q", keys), seeks, unreferenced, 0, len(pts))

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return 8 * (len(self.pts) + len(self.keys) + len(self.seeks)) + len(self.unreferenced)

    def place_of(self, number: int) -> Place:
        """Return where a seek finds a key, by its number among the keys."""
        stamp, byte, shift = self.seeks[3 * number : 3 * number + 3]
        return Place(stamp, None if byte < 0 else byte, shift)

    def is_unreferenced(self, pts: int) -> bool:
        """Return True where no other frame needs the one with this time stamp."""
        place = bisect_left(self.pts, pts)
        return place < len(self.pts) and self.pts[place] == pts and bool(self.unreferenced[place])


def index_file(source: AvStream, begin: list[PacketRow]) -> PacketIndex | None:
    """Index all frames by reading the rest of the packets.

    None where a packet casts doubt on them.

    Args:
        source: behind the packets of ``begin``.
        begin: the packets read so far.
    """
    nals = nal_format(source.stream.codec_context)
    rows = [*begin, *(PacketRow.of(packet, source.place, nals) for packet in source.packets())]
    stated = source.stream.frames
    if source.is_damaged or (source.is_joined and not source.may_be_joined) or (stated and stated != len(rows)):
        return None
    index = _index_rows(rows)
    # A file that begins in the middle of a group: its first frames may not decode.
    return index if index is not None and len(index.pts) == len(rows) else None


def index_span(
    source: AvStream, span_sec: tuple[float, float], first_pts: int | None
) -> tuple[PacketIndex, list[Packet]] | None:
    """Seek to a span and index its frames and those that they need, and return their packets.

    None on any doubt.

    Of a span that takes more than ``KEEP_BYTES`` no packets are returned.

    Args:
        source: anywhere.
        span_sec: start and end in seconds.
        first_pts: time stamp of the file's first frame.
    """
    nals = nal_format(source.stream.codec_context)
    rows: list[PacketRow] = []
    packets: list[Packet] = []
    num_bytes = 0
    # The exact time is looked at from a little before on.
    near_end = source.pts_of(span_sec[1]) - 2
    for packet in seek_before(source, span_sec[0], first_pts):
        row = PacketRow.of(packet, source.place, nals)
        # No frame is shown before it is decoded: none of the packets from here on belongs to the span.
        if row.dts is not None and row.dts >= near_end and source.time_of(row.dts) >= span_sec[1]:
            break
        rows.append(row)
        num_bytes += packet.size
        if num_bytes <= KEEP_BYTES:
            packets.append(packet)
    index = None if source.is_damaged or source.is_joined else _index_rows(rows)
    return None if index is None else (narrow(index, source, span_sec), packets if len(packets) == len(rows) else [])


def narrow(index: PacketIndex, source: AvStream, span_sec: tuple[float, float]) -> PacketIndex:
    """Return the index with only the frames of a span to read."""
    first, stop = (bisect_left(index.pts, t, key=source.time_of) for t in span_sec)
    return replace(index, first=first, stop=stop)


def _index_rows(rows: list[PacketRow]) -> PacketIndex | None:
    """In the order shown, from the first packet's frame on: those shown before it need what lies before it."""
    if not rows or not rows[0].is_key or any(row.pts is None or row.is_odd for row in rows):
        return None
    begin = rows[0].pts
    shown = sorted((row for row in rows if row.pts >= begin), key=lambda row: row.pts)  # type: ignore
    pts = [row.pts for row in shown if row.pts is not None]
    if any(a == b for a, b in itertools.pairwise(pts)):
        return None
    keys = {i: row.place for i, row in enumerate(shown) if row.is_key}
    return PacketIndex.of(pts, keys, bytes(row.is_unreferenced for row in shown))


def seek_before(source: AvStream, start_sec: float, first_pts: int | None) -> Iterator[Packet]:
    """Return the packets from the last keyframe that is shown at ``start_sec`` or before, or None if it is not found.

    Args:
        source: anywhere.
        start_sec: in seconds.
        first_pts: time stamp of the file's first frame.
    """
    target = source.pts_of(start_sec)
    for _ in range(3):
        packets = source.seek(Place(target))
        packet = next(packets, None)
        if packet is None or packet.pts is None or not packet.is_keyframe:
            return iter(())
        if packet.pts == first_pts or source.time_of(packet.pts) <= start_sec:
            return itertools.chain([packet], packets)
        target = min(target, packet.pts) - max(packet.duration or 0, 1)
    return iter(())


class IndexedFrames:
    """Reads the frames of an index.

    Every frame that decodes is compared with it.

    Frames that were not asked and that no other frame needs are not decoded.

    Args:
        source: the file.
        index: of this file.
        packets: all that the index is of, if they are at hand. Else they are sought.
    """

    def __init__(self, source: AvStream, index: PacketIndex, packets: Sequence[Packet] = ()) -> None:
        self._source = source
        self.index = index
        self._packets = packets
        self._frames: Iterator[VideoFrame] = iter(())
        self._next: int | None = None  # place of the frame that the decoder gives next
        self._wanted: set[int] = set()  # time stamps
        self._left_out: set[int] = set()  # time stamps of packets not decoded since the last seek

    def count(self) -> int:
        """Return the number of frames."""
        return self.index.stop - self.index.first

    def read(self, indices: list[int], take: TakeFrame) -> bool:
        """Hand the frames of ascending indices to ``take``.

        False where the file is not what its index says.

        Raises:
            NoSuchFrameError: an index is not below the number of frames.
        """
        if indices and indices[-1] >= self.count():
            raise NoSuchFrameError(self.count())
        pts, keys = self.index.pts, self.index.keys
        self._wanted = {pts[index + self.index.first] for index in indices}
        for index in indices:
            target = index + self.index.first
            number = bisect_right(keys, target) - 1
            key = keys[number]
            is_behind = self._next is None or target < self._next or pts[target] in self._left_out
            if (is_behind or key > (self._next or 0) + SEEK_GAIN_FRAMES) and not self._seek(number):
                return False
            frame = self._decode_to(target)
            if frame is None:
                return False
            take(index, frame)
        return True

    def _decode_to(self, target: int) -> VideoFrame | None:
        """Frame ``target``. None if it or one before it is not what the index says."""
        pts, place, self._next = self.index.pts, self._next or 0, None
        for frame in self._frames:
            while place < target and pts[place] in self._left_out:
                place += 1
            if frame.pts != pts[place] or frame.is_corrupt or self._source.is_damaged:
                return None
            place += 1
            if place > target:
                self._next = place
                return frame
        return None

    def _seek(self, number: int) -> bool:
        """Go to a keyframe, whose frame is the next one. False if the file does not have it where it should be."""
        key = self.index.keys[number]
        key_pts = self.index.pts[key]
        packets = self._packets_from(number, key_pts)
        if packets is None:
            return False
        self._left_out = set()
        frames = self._source.frames(self._needed(packets))
        # Frames that follow the keyframe but are shown before it lack what they refer to.
        self._frames = itertools.dropwhile(lambda frame: frame.pts is not None and frame.pts < key_pts, frames)
        self._next = key
        return True

    def _packets_from(self, number: int, key_pts: int) -> Iterator[Packet] | None:
        """Return the packets from a keyframe's on, or None if it is not where the index says."""
        if self._packets:
            self._source.forget()
            return itertools.dropwhile(lambda packet: packet.pts != key_pts, self._packets)
        place = self.index.place_of(number)
        tries = [(place, back_sec) for back_sec in SEEK_BACK_SEC]
        if place.stamp != key_pts:
            # In mp4 files a seek to the decoding time ends a keyframe earlier; bytes are best where they are used.
            tries.insert(self._source.may_be_joined, (place._replace(stamp=key_pts), 0))
        for target, back_sec in tries:
            packets = self._source.seek(target, back_sec)
            # A seek may end at an earlier keyframe, and in files without an index between two of them.
            packet = next((p for p in packets if p.is_keyframe and (p.pts is None or p.pts >= key_pts)), None)
            if packet is not None and packet.pts == key_pts:
                return itertools.chain([packet], packets)
        return None

    def _needed(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        for packet in packets:
            if packet.pts is not None and packet.pts not in self._wanted and self.index.is_unreferenced(packet.pts):
                self._left_out.add(packet.pts)
            else:
                yield packet
