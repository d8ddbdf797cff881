"""The one error type of reading videos."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class VideoError(Exception):
    """A video that cannot be read: which file, and why in plain words.

    ``str(error)`` is ``"<path>: <reason>"``. A reason holds no ``": "``, so that the message can be taken apart again.
    A DataLoader raises a worker's error again from the text of its traceback alone. Given such a text and no reason,
    the path and the reason are read back from its last line.

    Args:
        path: the file or folder.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str | None = None) -> None:
        if reason is None:
            path, reason = _from_traceback(os.fspath(path))
        self.path = Path(path)
        self.reason = " ".join(reason.split()).replace(": ", ", ")
        super().__init__(os.fspath(path), self.reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoSuchFrameError(IndexError):
    """Raised for a frame number that is not below the number of frames.

    Args:
        num_frames: the number of frames.
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__(num_frames)
        self.num_frames = num_frames


@contextmanager
def reading(path: str | os.PathLike[str]) -> Generator[None]:
    """Turn whatever goes wrong inside into the VideoError of a file.

    FFmpeg, PyAV and Pillow meet any bytes a file may hold, so what they raise cannot be listed. One file must not end
    a run over many.

    Args:
        path: the file or folder that is opened or read.
    Raises:
        VideoError: anything but VideoError and NoSuchFrameError was raised inside.
    """
    try:
        yield
    except (VideoError, NoSuchFrameError):
        raise
    except Exception as err:
        raise VideoError(path, f"reading it failed ({type(err).__name__}, {err})") from err


def _from_traceback(text: str) -> tuple[str, str]:
    """Path and reason out of the text that a DataLoader makes of a worker's error."""
    last_line = text.strip().rpartition("\n")[2]
    path, colon, reason = last_line.rpartition("VideoError: ")[2].rpartition(": ")
    return (path, reason) if colon else ("<unknown>", text)
