"""Decoded frames as upright RGB images: for the reader, for streams and for prepare."""

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from .errors import VideoError
from .limits import check_frame_size

# PyAV 17 and later convert colors in as many threads as there are cores, which loader workers use anyway; and a
# converter that had threads when its process was forked hangs where the worker frees it.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}

# Kinds of side data that a frame may have; FFmpeg 8 knows 33.
MOST_KINDS = 64


class UprightRgb:
    """Converts a video's frames to RGB, turned and flipped as the first one asks, all of one size.

    Alpha is dropped. A frame of another size than the first one's is scaled to it.

    Args:
        path: the file that errors name.
        first: the first frame.
        size: (width, height) of the images. None: those of the first frame.
        interpolation: how frames of another size are scaled, by PyAV's name. None: FFmpeg's own choice.
    Raises:
        VideoError: from a call: the frame is too large, its pixels are floating-point numbers, or FFmpeg cannot convert
            them.
    """

    def __init__(
        self, path: Path, first: VideoFrame, *, size: tuple[int, int] | None = None, interpolation: str | None = None
    ) -> None:
        self._path = path
        self._transpose, self._flip_x, self._flip_y = orientation(first)
        self.width, self.height = size_of(first) if size is None else size
        self._options: dict[str, Any] = {"interpolation": interpolation, **ONE_THREAD} if interpolation else ONE_THREAD
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Return the image, uint8 (height, width, 3). It may be a view of a buffer that is kept alive."""
        check_frame_size(self._path, frame.width, frame.height)
        if re.search(r"f(16|32)[lb]e$", frame.format.name):
            # FFmpeg takes 0 to 1 for them, clips the rest without a word, and gets gray wrong by up to 21 levels.
            raise VideoError(
                self._path, f"its pixels are floating-point numbers ({frame.format.name}), with no known range"
            )
        width, height = (self.height, self.width) if self._transpose else (self.width, self.height)
        try:
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", **self._options)
        except (av.FFmpegError, ValueError) as err:
            raise VideoError(self._path, f"a {frame.format.name} frame cannot be turned into RGB ({err})") from err
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        image = rows[:, : width * 3].reshape(height, width, 3)
        if self._transpose:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self._flip_y else 1, :: -1 if self._flip_x else 1]


def orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return (transpose, then flip x, flip y) that turn a stored frame as its display matrix asks.

    FFmpeg's matrix maps (x, y) to (a x + c y, b x + d y), y downwards. Angles are taken to the next quarter turn.
    """
    matrix = _side_data(frame).get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(memoryview(matrix))[:20])
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def _side_data(frame: VideoFrame) -> Any:
    """Return what comes with a frame, except the kinds that FFmpeg knows and PyAV does not.

    PyAV raises on those (frames of spatial video, photos with EXIF), so a filter takes them off first.
    """
    try:
        return frame.side_data
    except ValueError:
        graph = Graph()
        last = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        for number in set(range(MOST_KINDS)) - {kind.value for kind in Type}:
            remove = graph.add("sidedata", f"mode=delete:type={number}")
            last.link_to(remove)
            last = remove
        last.link_to(graph.add("buffersink"))
        graph.configure()
        graph.vpush(frame)
        return graph.vpull().side_data


def size_of(frame: VideoFrame) -> tuple[int, int]:
    """Return width and height after rotation."""
    is_lying = orientation(frame)[0]
    return (frame.height, frame.width) if is_lying else (frame.width, frame.height)
