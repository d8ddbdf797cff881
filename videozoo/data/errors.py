"""The one error type of reading videos."""

import os
from pathlib import Path


class VideoError(Exception):
    """A video that cannot be read: which file, and why in plain words.

    ``str(error)`` is ``"<path>: <reason>"``; a reason holds no ``": "``, so that the message can be taken apart again.
    A DataLoader raises a worker's error anew from the text of its traceback alone; given such a text and no reason,
    the path and the reason are read back from its last line.

    Args:
        path: the file or folder.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str | None = None) -> None:
        if reason is None:
            path, reason = _from_traceback(os.fspath(path))
        self.path = Path(path)
        self.reason = reason.replace(": ", ", ")
        super().__init__(os.fspath(path), self.reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def _from_traceback(text: str) -> tuple[str, str]:
    """Path and reason out of the text that a DataLoader makes of a worker's error."""
    last_line = text.strip().rpartition("\n")[2]
    path, colon, reason = last_line.rpartition("VideoError: ")[2].rpartition(": ")
    return (path, reason) if colon else ("<unknown>", text)
