"""One file of any kind as exact frames and their times.

Knows nothing of labels and models.
"""

from .errors import VideoError
from .reader import VideoReader, count_frames, read_frames

__all__ = ["VideoError", "VideoReader", "count_frames", "read_frames"]
