"""The bytes of a video: a file, a part of one such as a member of a tar shard, or bytes in memory, without a copy."""

import io
import os
from pathlib import Path
from typing import BinaryIO, Self

from .errors import VideoError

# Where the bytes of a video are: (offset, size) of a member of the file at a path, or the bytes themselves, of which
# the path is but a name. None, beside these: all of the file.
Member = tuple[int, int] | bytes


class ByteWindow:
    """The bytes [offset, offset + size) of a file, read at any place.

    Use it in a ``with`` statement.

    Args:
        path: an existing file, such as a tar shard.
        member: what part of it. None: all of the file.
    Raises:
        VideoError: the file ends before the window does, or cannot be opened.
    """

    def __init__(self, path: Path, member: Member | None = None) -> None:
        self._file: BinaryIO
        if isinstance(member, bytes):
            self._file, self.offset, self.size = io.BytesIO(member), 0, len(member)
            return
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as err:
            raise VideoError(path, f"it may not be read ({err.strerror})") from err
        total = os.fstat(self._file.fileno()).st_size
        self.offset, self.size = (0, total) if member is None else member
        wrong = ""
        if self.offset < 0 or (member is not None and self.size <= 0):
            wrong = f"no member of a shard lies at byte {self.offset} with {self.size} bytes"
        elif self.offset + self.size > total:
            wrong = f"the shard has {total} bytes, its member ends at {self.offset + self.size}; was it cut short?"
        if wrong:
            self._file.close()
            raise VideoError(path, wrong)

    def read_at(self, place: int, size: int) -> bytes:
        """Return at most ``size`` bytes from a place of the window on, fewer at its end."""
        self._file.seek(self.offset + place)
        return self._file.read(max(min(size, self.size - place), 0)) or b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def ffmpeg_input(path: Path, member: Member | None) -> str | BinaryIO:
    """Return what FFmpeg opens to read a file, a member of it, or bytes in memory.

    Raises:
        VideoError: there is no such member.
    """
    if isinstance(member, bytes):
        return io.BytesIO(member)
    name = os.path.abspath(path)
    if member is None:
        return name
    with ByteWindow(path, member) as window:
        return f"subfile,,start,{window.offset},end,{window.offset + window.size},,:{name}"
