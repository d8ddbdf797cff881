"""Settings of the page: limits, and the error raised when it cannot start."""

from dataclasses import dataclass

__all__ = ["LIMITS", "DemoError", "Limits"]


class DemoError(Exception):
    """The page cannot be served.

    The message says what to do.
    """


@dataclass(frozen=True)
class Limits:
    """Limits of an uploaded video.

    Args:
        size_mb: of the file, in 2**20 bytes.
        duration_sec: of the video.
        frame_pixels: of a frame. Those of a clip are held in memory together.
        total_mb: of the files of all visitors together, in 2**20 bytes.
    """

    size_mb: float = 100.0
    duration_sec: float = 60.0
    frame_pixels: int = 4096 * 2304
    total_mb: float = 2000.0


LIMITS = Limits()
