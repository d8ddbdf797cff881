"""Times at which the frames of a video file are shown."""

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from .av_file import AvFile
from .av_stream import AvStream
from .errors import VideoError, reading
from .frame_clock import rising
from .limits import WorkLimit, default_max_frames


def frame_times(
    path: str | os.PathLike[str], num_frames: int | None = None, most_sec: float | None = None
) -> list[float]:
    """Return the seconds at which each frame of a file is shown, counted from its first one, in ``VideoReader``'s
    numbering.

    Args:
        path: a video file.
        num_frames: frames that ``VideoReader`` found by reading. Where the packets of a damaged file promise another
            number, the file is decoded to its end. None: by the packets, if these can be trusted.
        most_sec: what a file may last.
    Raises:
        VideoError: the file cannot be read, or lasts longer.
    """
    path = Path(path)
    limit = WorkLimit(path, default_max_frames())
    with reading(path):
        with closing(AvFile(path, limit=limit)) as file:
            times = file.times()
        if times is not None and num_frames in (None, len(times)):
            return _checked(path, times, most_sec)
        with closing(AvStream(path, None, limit)) as stream:
            return _checked(path, (seconds for seconds, _ in stream.shown()), most_sec)


def _checked(path: Path, times: Iterable[float], most_sec: float | None) -> list[float]:
    kept: list[float] = []
    for time in rising(times):
        kept.append(time - kept[0] if kept else time)
        if most_sec is not None and len(kept) > 1 and kept[-1] > most_sec:
            raise VideoError(path, f"it lasts longer than the {most_sec:g} s that are taken here")
    return [0.0, *kept[1:]]
