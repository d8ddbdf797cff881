"""What one file may cost at most: time, and pixels of a frame."""

import time
from pathlib import Path
from types import TracebackType

from .errors import VideoError

# The largest frames of H.264, HEVC and AV1 at their usual highest levels (6.x) have 35.7 million pixels (8192x4352);
# nearly twice that is let through. One such frame takes 200 MB as RGB; a header may state a thousand times as much.
MAX_PIXELS = 2**26
# For opening a file and one read of it. Ten seconds of 1920x1080 decode in under one second per core.
TIME_LIMIT_SEC = 60.0


def check_frame_size(path: Path, width: int, height: int) -> None:
    """Raise VideoError where a frame has more than ``MAX_PIXELS`` pixels."""
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"its frames are {width}x{height}; at most {MAX_PIXELS} pixels are read")


class TimeLimit:
    """A clock that runs inside ``with`` only, and raises VideoError in ``check`` when its time is up.

    Args:
        path: the file that the error names.
        seconds: the limit; None: none.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._path = path
        self._seconds = seconds
        self._spent = 0.0
        self._started: float | None = None

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spent = self._elapsed()
        self._started = None

    def renew(self) -> None:
        """Give the whole time again."""
        self._spent = 0.0
        self._started = None if self._started is None else time.monotonic()

    def left_sec(self) -> float | None:
        """Seconds left, at least a little; None without a limit."""
        return None if self._seconds is None else max(self._seconds - self._elapsed(), 0.01)

    def check(self) -> None:
        """Raise VideoError if the time is up."""
        if self._seconds is not None and self._elapsed() > self._seconds:
            raise self.error()

    def error(self) -> VideoError:
        """The error of a file that takes too long."""
        return VideoError(self._path, f"reading it took more than the {self._seconds:g} s that one file may take")

    def _elapsed(self) -> float:
        return self._spent + (0.0 if self._started is None else time.monotonic() - self._started)
