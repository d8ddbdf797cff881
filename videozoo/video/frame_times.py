"""When the frames of a video file are shown."""

import os
from collections.abc import Iterable
from pathlib import Path

from .av_file import AvFile
from .av_stream import AvStream
from .errors import VideoError, reading
from .frame_clock import rising
from .limits import WorkLimit, default_max_frames

__all__ = ["frame_times"]


def frame_times(
    path: str | os.PathLike[str], num_frames: int | None = None, most_sec: float | None = None
) -> list[float]:
    """Seconds at which each frame of a file is shown, counted from its first one, in ``VideoReader``'s numbering.

    Args:
        path: a video file.
        num_frames: frames that ``VideoReader`` found by reading; where the packets of a damaged file promise another
            number, the file is decoded to its end. None: by the packets, if these can be trusted.
        most_sec: what a file may last.
    Raises:
        VideoError: the file cannot be read, or lasts longer.
    """
    path = Path(path)
    limit = WorkLimit(path, default_max_frames())
    with reading(path):
        times = _times_of_packets(path, limit, most_sec)
        if times is None or num_frames not in (None, len(times)):
            times = _times_of_frames(path, limit, most_sec)
    return times


def _times_of_packets(path: Path, limit: WorkLimit, most_sec: float | None) -> list[float] | None:
    file = AvFile(path, limit=limit)
    try:
        times = file.times()
        return None if times is None else _checked(path, times, most_sec)
    finally:
        file.close()


def _times_of_frames(path: Path, limit: WorkLimit, most_sec: float | None) -> list[float]:
    stream = AvStream(path, None, limit)
    try:
        return _checked(path, (stream.time_of(frame.pts or 0) for frame in stream.shown()), most_sec)
    finally:
        stream.close()


def _checked(path: Path, times: Iterable[float], most_sec: float | None) -> list[float]:
    kept: list[float] = []
    for time in rising(times):
        kept.append(time - kept[0] if kept else time)
        if most_sec is not None and len(kept) > 1 and kept[-1] > most_sec:
            raise VideoError(path, f"it lasts longer than the {most_sec:g} s that are taken here")
    return [0.0, *kept[1:]]
