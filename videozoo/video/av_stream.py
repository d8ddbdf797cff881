"""One opening of a video file by PyAV: its container, the stream that is read, frames and packets in turn."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from .byte_window import ByteWindow, Member
from .container_size import is_cut_short
from .errors import VideoError
from .frame_clock import FrameClock, Timeline, stated_rate
from .limits import WorkLimit, check_frame_size
from .open_file import ENCRYPTED, choose_stream, open_file

# FFmpeg makes decoding times up for these.
FORMATS_WITHOUT_DTS = frozenset({"matroska,webm", "ogg", "asf"})
# FFmpeg's flag of formats whose time stamps may begin again (AVFMT_TS_DISCONT): MPEG's transport and program streams.
TS_DISCONT = 0x0200


class Place(NamedTuple):
    """Position of a packet in a file.

    Args:
        stamp: its decoding time, or in formats without one the time at which its frame is shown.
        byte: where it begins, or a packet before it. None: not known.
        shift: how far the clock has moved its time stamps.
    """

    stamp: int
    byte: int | None = None
    shift: int = 0


class AvStream:
    """An open video file and its first video stream.

    One decoding thread: with frame threads FFmpeg loses frames next to a damaged one (25 instead of 27 in a truncated
    file), and the gain was 1.0 to 1.5 times on two cores, which loader workers use anyway.

    Args:
        path: an existing file.
        member: what part of it is the video, or its bytes. None: the file is the video.
        limit: counts packets and frames.
        container: what is read, where it is no file. None: the file is opened.
    Raises:
        VideoError: the file cannot be opened, has no video stream that can be decoded, or has frames too large.
    """

    def __init__(
        self,
        path: Path,
        member: Member | None,
        limit: WorkLimit,
        container: InputContainer | None = None,
    ) -> None:
        self.path = path
        # Set where a packet could not be read or decoded.
        self.is_damaged = False
        # The frame given last was decoded with errors, or follows such a one without a keyframe between them.
        self.shows_damage = False
        self._num_incomplete = 0
        self._limit = limit
        self._member = member
        self.container = open_file(path, member) if container is None else container
        # AVI has none; those that FFmpeg makes up are off by some frames, or run backwards, where there are B-frames.
        # Its decoding times are exact: the numbers of its chunks.
        self.has_pts = self.container.format.name != "avi"
        try:
            self.stream = choose_stream(path, self.container, member, is_file=container is None)
        except BaseException:
            self.close()
            raise
        self._has_dts = self.container.format.name not in FORMATS_WITHOUT_DTS
        unit = self.stream.time_base or Fraction(1)
        self._timeline = Timeline(unit, has_pts=self.has_pts, has_dts=self._has_dts)
        self._packet_duration: int | None = None
        self.place = Place(0)  # of the packet read last

    @property
    def may_be_joined(self) -> bool:
        """Return whether files of this kind are joined end to end: their times do not show where a frame is."""
        return bool(self.container.format.flags & TS_DISCONT)

    @property
    def is_joined(self) -> bool:
        """Return whether time stamps began again at a packet read so far."""
        return self._timeline.num_breaks > 0

    @property
    def lacks_data(self) -> bool:
        """Return whether packets read so far are incomplete.

        Those before a joint of two files only seem so.
        """
        return self._num_incomplete > self._timeline.num_breaks

    def is_cut_short(self) -> bool:
        """Return whether the file ends before its container does."""
        with ByteWindow(self.path, self._member) as data:
            return is_cut_short(data)

    def rate(self) -> Fraction:
        """Return the mean frames per second, as stated."""
        unit, duration = self.stream.time_base, self._packet_duration
        return stated_rate(self.stream, float(duration * unit) if duration and unit else None)

    def time_of(self, pts: int) -> float:
        """Return the seconds of a time stamp, counted from the container's start as ffmpeg's ``-ss`` does."""
        start = (self.container.start_time or 0) / 1e6
        # The start is known in microseconds only.
        return round(float(pts * (self.stream.time_base or 0)) - start, 5)

    def pts_of(self, seconds: float) -> int:
        """Return the time stamp of a time."""
        start = (self.container.start_time or 0) / 1e6
        return round((seconds + start) / float(self.stream.time_base or 1))

    def seek(self, place: Place, back_sec: float = 0) -> Iterator[Packet]:
        """Return the packets from a place on, or from a keyframe before, or None if the file does not allow it.

        Args:
            place: a packet's. Files that may be joined are sought by bytes, as a time may come twice in them.
            back_sec: how much earlier to begin.
        """
        try:
            if place.byte is not None and self.may_be_joined and not back_sec:
                self.container.seek(place.byte, unsupported_byte_offset=True)
            else:
                stamp = place.stamp - place.shift - round(back_sec / (self.stream.time_base or 1))
                self.container.seek(stamp, stream=self.stream, backward=True)
        except av.FFmpegError:
            return iter(())
        self._timeline.restart(place.shift)
        self.shows_damage = False
        return self.packets()

    def forget(self) -> None:
        """Let the decoder begin again, with a keyframe's packet next."""
        self.stream.codec_context.flush_buffers()
        self.shows_damage = False

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def packets(self) -> Iterator[Packet]:
        """Yield the packets from the present position on, their time stamps made to rise.

        Ends where no more can be read.

        Empty packets are left out: in Theora they repeat the frame before, which is shown on until the next one comes.
        """
        packets = self.container.demux(self.stream)
        while True:
            self._limit.count_packet()
            try:
                packet = next(packets, None)
            except (av.FFmpegError, EOFError):
                self.is_damaged = True
                return
            if packet is None:
                return
            if packet.has_sidedata("encryption_info"):
                raise VideoError(self.path, ENCRYPTED)
            if packet.size:
                byte = self.place.byte if packet.pos is None else packet.pos
                self._timeline.follow(packet)
                self._num_incomplete += packet.is_corrupt
                stamp = packet.dts if self._has_dts and packet.dts is not None else packet.pts
                self.place = Place(stamp or 0, byte, self._timeline.shift)
                self._packet_duration = self._packet_duration or packet.duration
                yield packet

    def frames(self, packets: Iterator[Packet] | None = None) -> Iterator[VideoFrame]:
        """Yield the frames of packets, by default of those from the present position on.

        Damage is skipped and remembered.
        """
        for packet in self.packets() if packets is None else packets:
            yield from self._decode(packet)
        yield from self._decode(None)  # flushes the decoder

    def shown(self, packets: Iterator[Packet] | None = None) -> Iterator[tuple[float, VideoFrame]]:
        """Yield the frames of packets, as for ``frames``, and their seconds, with the time stamps that the clock gives
        them.
        """
        step = max(round(1 / (self.rate() * (self.stream.time_base or 1))), 1)
        clock = FrameClock(step, has_pts=self.has_pts)

        def noted() -> Iterator[Packet]:
            for packet in self.packets() if packets is None else packets:
                clock.expect(packet)
                yield packet

        for frame in self.frames(noted()):
            # The last frames out of a decoder have no unit.
            frame.pts, frame.time_base = clock.stamp(frame), self.stream.time_base or Fraction(1)
            yield self.time_of(frame.pts), frame

    def _decode(self, packet: Packet | None) -> Iterator[VideoFrame]:
        try:
            for frame in self.stream.decode(packet):
                self._limit.count_frame()
                check_frame_size(self.path, frame.width, frame.height)
                self.shows_damage = frame.is_corrupt or (self.shows_damage and not frame.key_frame)
                yield frame
        except EOFError:
            pass
        except av.FFmpegError:
            self.is_damaged = self.shows_damage = True
