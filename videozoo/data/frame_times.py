"""When the frames of a video file are shown."""

import os
from collections.abc import Iterable
from pathlib import Path

from .av_file import AvFile
from .av_stream import AvStream
from .errors import VideoError, reading
from .limits import TIME_LIMIT_SEC, TimeLimit

__all__ = ["frame_times"]


def frame_times(
    path: str | os.PathLike[str], num_frames: int | None = None, most_sec: float | None = None
) -> list[float]:
    """Seconds at which each frame of a file is shown, counted from its first one, in ``VideoReader``'s numbering.

    They are the time stamps of the file; an AVI has none, there frames are evenly spread.

    Args:
        path: a video file.
        num_frames: frames that ``VideoReader`` found by reading; where the packets of a damaged file promise another
            number, the file is decoded to its end. None: by the packets, if these can be trusted.
        most_sec: what a file may last.
    Raises:
        VideoError: the file cannot be read, or lasts longer.
    """
    path = Path(path)
    limit = TimeLimit(path, TIME_LIMIT_SEC)
    with reading(path), limit:
        times = _times_of_packets(path, limit, most_sec)
        if times is None or num_frames not in (None, len(times)):
            times = _times_of_frames(path, limit, most_sec)
    return times


def _times_of_packets(path: Path, limit: TimeLimit, most_sec: float | None) -> list[float] | None:
    file = AvFile(path, limit=limit)
    try:
        index = file.index()
        if index is None:
            return None
        stamps = index.pts[index.first : index.stop]
        if not file.has_times:
            return _checked(path, (k / (file.fps or 25) for k in range(len(stamps))), most_sec)
        return _checked(path, (float((pts - stamps[0]) * file.time_base) for pts in stamps), most_sec)
    finally:
        file.close()


def _times_of_frames(path: Path, limit: TimeLimit, most_sec: float | None) -> list[float]:
    stream = AvStream(path, None, limit)
    try:
        rate = float(stream.stream.average_rate or stream.stream.guessed_rate or 25)
        start: list[float] = []

        def time_of(number: int, pts: int | None) -> float:
            if pts is None or not stream.has_times:
                return number / rate
            now = stream.time_of(pts)
            start[:] = start or [now - number / rate]
            return now - start[0]

        return _checked(path, (time_of(k, frame.pts) for k, frame in enumerate(stream.frames())), most_sec)
    finally:
        stream.close()


def _checked(path: Path, times: Iterable[float], most_sec: float | None) -> list[float]:
    kept = []
    for time in times:
        if most_sec is not None and time > most_sec:
            raise VideoError(path, f"it lasts longer than the {most_sec:g} s that are taken here")
        kept.append(time)
    return kept
