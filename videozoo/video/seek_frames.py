"""Frames found by a seek in files whose packets cannot be indexed: of a span, and of a file decoded before."""

from collections.abc import Iterator

from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from .av_stream import AvStream, Place
from .packet_index import PacketIndex, seek_before

# Codecs whose keyframes need nothing that lies before them, and that have packets which show no frame, or headers too
# plain to index. (H.264 and HEVC are not among them: what they call a keyframe may need frames before it.)
SOUGHT_CODECS = frozenset(
    (
        *(
            "vp8",
            "theora",
            "flv1",
            "h263",
            "h263p",
            "msmpeg4v1",
            "msmpeg4v2",
            "msmpeg4v3",
            "wmv1",
            "wmv2",
            "mpeg1video",
        ),
        *(
            "rv10",
            "rv20",
            "svq1",
            "cinepak",
            "huffyuv",
            "ffvhuff",
            "utvideo",
            "dvvideo",
            "rawvideo",
            "dnxhd",
            "msvideo1",
        ),
    )
)


class SeekDoubtError(Exception):
    """Raised where the frames after a seek may be others than those of a file that is decoded from its start."""


def can_note(source: AvStream) -> bool:
    """Return True where frames may be found again: packets state when they are shown, and a keyframe begins again."""
    context = source.stream.codec_context
    return (source.has_pts or not context.has_b_frames) and context.codec.canonical_name in SOUGHT_CODECS


def shown_from(source: AvStream, start_sec: float, first_pts: int | None) -> Iterator[tuple[float, VideoFrame]]:
    """Yield the frames and their seconds from the last keyframe that is shown at ``start_sec`` or before.

    Args:
        source: anywhere in its file.
        start_sec: in seconds.
        first_pts: time stamp of the file's first frame.
    Raises:
        SeekDoubtError: no such keyframe is found, or a frame is damaged or not where its packet says.
    """
    stamps: set[int | None] = set()
    key_pts: int | None = None
    last: int | None = None

    def noted() -> Iterator[Packet]:
        nonlocal key_pts
        for packet in seek_before(source, start_sec, first_pts):
            key_pts = packet.pts if key_pts is None else key_pts
            stamps.add(packet.pts)
            yield packet

    for frame in source.frames(noted()):
        if source.is_damaged or source.is_joined or frame.is_corrupt or frame.pts is None or frame.pts not in stamps:
            raise SeekDoubtError
        assert key_pts is not None
        if frame.pts < key_pts:
            continue  # it is decoded after the keyframe and shown before it, and lacks what it refers to
        if (last is None and (frame.pts != key_pts or not _is_key(frame))) or (last is not None and frame.pts <= last):
            raise SeekDoubtError
        last = frame.pts
        yield source.time_of(frame.pts), frame
    if last is None:
        raise SeekDoubtError


class FrameNotes:
    """Notes where frames are while a file is decoded from its start, for the reads that follow."""

    def __init__(self) -> None:
        self._pts: list[int] = []
        self._keys: list[int] = []
        self._places: dict[int, Place] = {}  # of the keyframes' packets, by time stamp
        self._is_begun = self._is_whole = self._is_doubtful = False

    def shown(self, source: AvStream) -> Iterator[tuple[float, VideoFrame]]:
        """Yield a stream's frames and their seconds, as ``AvStream.shown`` does.

        Noted the first time only.
        """
        return source.shown() if self._is_begun else self._noted(source)

    def _noted(self, source: AvStream) -> Iterator[tuple[float, VideoFrame]]:
        self._is_begun = True
        stamps: set[int | None] = set()

        def packets() -> Iterator[Packet]:
            for packet in source.packets():
                self._is_doubtful |= packet.pts is None or packet.pts in stamps
                stamps.add(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    self._places[packet.pts] = source.place
                yield packet

        for seconds, frame in source.shown(packets()):
            pts = frame.pts
            if pts is None or pts not in stamps or (self._pts and pts <= self._pts[-1]) or frame.is_corrupt:
                self._is_doubtful = True
            else:
                if pts in self._places and _is_key(frame):
                    self._keys.append(len(self._pts))
                self._pts.append(pts)
            yield seconds, frame
        self._is_doubtful |= source.is_damaged or source.is_joined
        self._is_whole = True

    def index(self) -> PacketIndex | None:
        """Return the index of the frames.

        None before all were decoded, and where one was not where its packet says.
        """
        if not self._is_whole or self._is_doubtful or self._keys[:1] != [0]:
            return None
        places = {number: self._places[self._pts[number]] for number in self._keys}
        return PacketIndex.of(self._pts, places, bytes(len(self._pts)))


def _is_key(frame: VideoFrame) -> bool:
    """Return True for frames that need no other. Some decoders say so by their type only."""
    return frame.key_frame or frame.pict_type == PictureType.I
