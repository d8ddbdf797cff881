"""The clock of a video: when each of its frames is shown.

Reader, index, streams, prepare and check all use it.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

# A jump back, or one forward that is longer than this, is no time that passed between two frames.
LONGEST_GAP_SEC = 3600
# Presentation times of packets in the order of decoding go back by less than this, and by fewer packets.
LONGEST_REORDER_SEC = 1
LONGEST_REORDER = 16
# FFmpeg makes up the times that MPEG program streams leave out; some go back by a frame or two.
LONGEST_SLIP = 4
# Two frames are shown at least so far apart.
SHORTEST_STEP_SEC = 1e-6
RATE_TOLERANCE = 0.2
DEFAULT_RATE = Fraction(25)


class Timeline:
    """Makes the time stamps of packets rise where those of a file begin again.

    Joined files, recorders that were restarted and clocks that wrap around have stamps that jump. From there on all
    stamps are shifted, so that the packet follows the one before. Other gaps keep their length.

    Args:
        unit: seconds of one unit of time stamps.
        has_pts: whether packets state when they are shown. Else their decoding times are taken for it.
        has_dts: whether they state when they are decoded, or FFmpeg makes that up.
    """

    def __init__(self, unit: Fraction, *, has_pts: bool = True, has_dts: bool = True) -> None:
        self.shift = 0
        self.num_breaks = 0
        self._has_pts, self._has_dts = has_pts, has_dts
        self._longest_gap = round(LONGEST_GAP_SEC / unit)
        self._longest_reorder = round(LONGEST_REORDER_SEC / unit)
        self._last: deque[int] = deque(maxlen=LONGEST_REORDER)  # what the next packet is compared with

    def restart(self, shift: int) -> None:
        """Go on with any packet next, shifted by so many units.

        For use after a seek.
        """
        self.shift = shift
        self._last.clear()

    def follow(self, packet: Packet) -> None:
        """Shift the time stamps of the next packet."""
        pts, dts = packet.pts if self._has_pts else packet.dts, packet.dts
        stamp = dts if self._has_dts else pts
        if stamp is not None:
            step = packet.duration or 0
            if self._last and self._is_break(stamp + self.shift, step):
                self.shift = max(self._last) + max(step, 1) - stamp
                self.num_breaks += 1
                self._last.clear()
            self._last.append(stamp + self.shift)
        if dts is not None:
            packet.dts = dts + self.shift
        if pts is not None:
            packet.pts = pts + self.shift

    def _is_break(self, stamp: int, step: int) -> bool:
        if stamp - max(self._last) > self._longest_gap:
            return True
        if self._has_dts:
            return stamp < self._last[-1] - LONGEST_SLIP * step
        is_full = len(self._last) == LONGEST_REORDER
        return stamp < min(self._last) - (0 if is_full else self._longest_reorder)


class FrameClock:
    """Gives decoded frames their time stamps, which never fall: the i-th frame shown has the i-th smallest one.

    Most files state when a packet's frame is shown. Where they do not (AVI), or where the frames that the decoder puts
    out contradict it, the stamps of the packets are dealt out in rising order.

    Args:
        step: units of one frame, for frames without any stamp.
        has_pts: as for ``Timeline``.
    """

    def __init__(self, step: int, *, has_pts: bool) -> None:
        self._step = step
        self._last: int | None = None
        self._undecoded: list[int] = []  # stamps of packets whose frame did not come yet; one may come twice
        self._waiting: list[int] | None = None if has_pts else []  # a heap of stamps to deal out; None: no need

    def expect(self, packet: Packet) -> None:
        """Note a packet before it is decoded."""
        if packet.pts is not None:
            self._undecoded.append(packet.pts)
            if self._waiting is not None:
                heapq.heappush(self._waiting, packet.pts)

    def stamp(self, frame: VideoFrame) -> int:
        """Return the time stamp of the frame that the decoder put out next."""
        self._last = self._next(frame, frame.pts, self._last)
        return self._last

    def _next(self, frame: VideoFrame, own: int | None, last: int | None) -> int:
        if own is None:
            return 0 if last is None else last + (frame.duration or self._step)
        if own in self._undecoded:
            self._undecoded.remove(own)
        if frame.pict_type != PictureType.B:
            # Frames that others refer to come in the order of their packets: an earlier packet gave none.
            self._undecoded = [stamp for stamp in self._undecoded if stamp >= own]
        if self._waiting is None:
            if last is None or own >= last:
                return own
            self._waiting = sorted([own, *self._undecoded])
        while len(self._waiting) > len(self._undecoded) + 1:
            heapq.heappop(self._waiting)
        own = heapq.heappop(self._waiting) if self._waiting else own
        return own if last is None else max(own, last)


def rising(times: Iterable[float]) -> Iterator[float]:
    """Yield times with at least ``SHORTEST_STEP_SEC`` from each to the next."""
    last = float("-inf")
    for time in times:
        last = max(time, last + SHORTEST_STEP_SEC)
        yield last


def stated_rate(stream: VideoStream, frame_sec: float | None) -> Fraction:
    """Return the frames per second that a container states.

    Args:
        stream: of the container.
        frame_sec: duration of its first packet. A rate at which two such packets would overlap is not believed: DV
            states its time base as the mean rate.
    """
    rates = [rate for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
    possible = [rate for rate in rates if not frame_sec or rate * frame_sec < 2]
    return next(iter(possible or rates), DEFAULT_RATE)


def mean_rate(stated: float, count: int, seconds: float) -> float:
    """Return the mean frames per second: as stated, where the times of the frames agree with it, else by these.

    Args:
        stated: by the container.
        count: frames.
        seconds: from the first one to the last.
    """
    if count < 2 or seconds <= 0:
        return stated
    found = (count - 1) / seconds
    # A short file's last frame, cuts and drops make small differences.
    return stated if abs(stated / found - 1) < RATE_TOLERANCE else found
