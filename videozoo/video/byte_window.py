"""The bytes of a video: a file, or a part of one such as a member of a tar shard, without a copy."""

import io
import os
from pathlib import Path

from .errors import VideoError


class ByteWindow(io.FileIO):
    """The bytes [offset, offset + size) of a file, read at any place; use it in a ``with`` statement.

    Args:
        path: an existing file, such as a tar shard.
        member: (offset, size) in bytes; None: all of the file.
    Raises:
        VideoError: the file ends before the window does, or cannot be opened.
    """

    def __init__(self, path: Path, member: tuple[int, int] | None = None) -> None:
        try:
            super().__init__(path)
        except OSError as err:
            raise VideoError(path, f"it may not be read ({err.strerror})") from err
        total = os.fstat(self.fileno()).st_size
        self.offset, self.size = (0, total) if member is None else member
        wrong = ""
        if self.offset < 0 or (member is not None and self.size <= 0):
            wrong = f"no member of a shard lies at byte {self.offset} with {self.size} bytes"
        elif self.offset + self.size > total:
            wrong = f"the shard has {total} bytes, its member ends at {self.offset + self.size}; was it cut short?"
        if wrong:
            self.close()
            raise VideoError(path, wrong)

    def read_at(self, place: int, size: int) -> bytes:
        """Return at most ``size`` bytes from a place of the window on, fewer at its end."""
        self.seek(self.offset + place)
        return self.read(max(min(size, self.size - place), 0)) or b""


def ffmpeg_name(path: Path, member: tuple[int, int] | None) -> str:
    """Return what FFmpeg opens to read a file, or a member of it.

    Raises:
        VideoError: there is no such member.
    """
    name = os.path.abspath(path)
    if member is None:
        return name
    with ByteWindow(path, member) as window:
        return f"subfile,,start,{window.offset},end,{window.offset + window.size},,:{name}"
