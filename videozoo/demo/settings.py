"""What the page's parts share: limits, and the error type of starting it."""

from dataclasses import dataclass

__all__ = ["LIMITS", "DemoError", "Limits"]


class DemoError(Exception):
    """The page cannot be served; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What a video of a visitor may be at most.

    Args:
        size_mb: of the file, in 2**20 bytes.
        duration_sec: of the video.
        frame_pixels: of a frame; those of a clip are held in memory together.
        total_mb: of the files of all visitors together, in 2**20 bytes.
    """

    size_mb: float = 100.0
    duration_sec: float = 60.0
    frame_pixels: int = 4096 * 2304
    total_mb: float = 2000.0


LIMITS = Limits()
