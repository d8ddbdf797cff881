"""Limits on the cost of one file: frames decoded, packets read, and pixels of a frame."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from videozoo.arguments import MAX_FRAMES_VARIABLE

from .errors import VideoError

# The largest frames of H.264, HEVC and AV1 at their usual highest levels (6.x) have 35.7 million pixels (8192x4352);
# nearly twice that is let through. One such frame takes 200 MB as RGB; a header may state a thousand times as much.
MAX_PIXELS = 2**26
# Frames that opening a file and one read of it may decode: over two hours at 25 a second. A file with an index needs
# a few of them for a clip, however long it is; one without is decoded up to the last frame that is asked.
MAX_FRAMES = 200_000
# Packets that may be read for each frame that may be decoded; reading one costs a hundredth or less.
PACKETS_PER_FRAME = 50


def check_frame_size(path: Path, width: int, height: int) -> None:
    """Raise VideoError where a frame has more than ``MAX_PIXELS`` pixels."""
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"its frames are {width}x{height}; at most {MAX_PIXELS} pixels are read")


def default_max_frames() -> int:
    """Return the frames that one read may decode, where nothing else is said."""
    text = os.environ.get(MAX_FRAMES_VARIABLE, "")
    return int(text) if text.isdecimal() and int(text) else MAX_FRAMES


# Processor time that this process may use until it ends itself; None: it does not. See ``watched``.
_watch_sec: float | None = None
# Windows has no such timers: there only the clock of who watches from outside counts.
CAN_WATCH = hasattr(signal, "setitimer")


@contextmanager
def watched(seconds: float) -> Generator[None]:
    """Have the system end this process by SIGPROF once the work inside has used so much processor time.

    A decoder that never comes back cannot be stopped in another way. Processor time, unlike the clock, is that of the
    work alone, however busy the machine is. It begins again with each frame or packet that a `WorkLimit` counts.

    Args:
        seconds: above 0.
    """
    global _watch_sec
    if not CAN_WATCH:
        yield
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _watch_sec = seconds
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        _watch_sec = None
        signal.setitimer(signal.ITIMER_PROF, 0)


def _restart_watch() -> None:
    if _watch_sec is not None:
        signal.setitimer(signal.ITIMER_PROF, _watch_sec)


class WorkLimit:
    """Counts the frames decoded and the packets read of a file.

    The same on every machine, however busy it is.

    Args:
        path: the file that the error names.
        max_frames: frames that may be decoded. None: no limit but that of ``watched``, for all of the file.
    Raises:
        VideoError: from the counting methods, when there are more.
    """

    def __init__(self, path: Path, max_frames: int | None) -> None:
        self._path = path
        self._max_frames = max_frames
        self._num_frames = self._num_packets = 0

    def renew(self) -> None:
        """Count from zero again."""
        self._num_frames = self._num_packets = 0

    def count_frame(self) -> None:
        """Count a decoded frame."""
        self._num_frames += 1
        if self._max_frames is not None:
            _restart_watch()
            if self._num_frames > self._max_frames:
                raise self._error(f"decode more than {self._max_frames} frames")

    def count_packet(self) -> None:
        """Count a packet."""
        self._num_packets += 1
        if self._max_frames is not None:
            _restart_watch()
            if self._num_packets > self._max_frames * PACKETS_PER_FRAME:
                raise self._error(f"read more than {self._max_frames * PACKETS_PER_FRAME} packets")

    def _error(self, what: str) -> VideoError:
        return VideoError(
            self._path, f"reading it would {what}; allow more with --max-frames or VIDEOZOO_MAX_FRAMES, or cut it"
        )
