"""Sampled frames of a video, drawn again where reading finds another number of frames than was counted."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from videozoo.video.errors import VideoError
from videozoo.video.reader import VideoReader

from .records import VideoRecord, open_record

# Rounds of sampling where reading corrects the number of frames.
MAX_ROUNDS = 4
# A frame longer than this many times its width would be resized to one that fills the memory.
MAX_ASPECT = 32

Drawn = TypeVar("Drawn")
Made = TypeVar("Made")


def read_sampled(reader: VideoReader, draw: Callable[[int], Drawn], make: Callable[[Drawn, VideoReader], Made]) -> Made:
    """Return what ``make`` reads of the drawn frames.

    Args:
        reader: of the video.
        draw: from its number of frames to those wanted.
        make: reads these.
    Raises:
        VideoError: the video cannot be read, or its frames are too long and thin.
    """
    check_aspect(reader.path, reader.height, reader.width)
    for _ in range(MAX_ROUNDS):
        count = reader.num_frames
        try:
            made = make(draw(count), reader)
        except IndexError:
            # Damage that only reading finds: fewer frames than were counted.
            if reader.num_frames == count:
                raise
            continue
        if reader.num_frames == count:
            return made
    raise VideoError(reader.path, "its number of frames changes each time it is read")


def check_aspect(path: Path, height: int, width: int) -> None:
    """Raise VideoError where frames are too long and thin to be resized."""
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise VideoError(path, f"frames of {width}x{height} are too long and thin")


def read_record(
    record: VideoRecord, draw: Callable[[int], Drawn], make: Callable[[Drawn, VideoReader], Made]
) -> tuple[Made, str]:
    """Return what ``make`` reads of a listed video, as ``read_sampled`` does, and the reader's note.

    Raises:
        VideoError: the video cannot be read. It names the file and where it was listed.
    """
    try:
        with open_record(record) as reader:
            return read_sampled(reader, draw, make), reader.note
    except VideoError as err:
        raise VideoError(err.path, f"{err.reason}{record.listed}") from err
