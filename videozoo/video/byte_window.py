"""A part of a file as a file: a member of a tar shard, without a copy."""

import io
from pathlib import Path
from typing import Any

from .errors import VideoError


class ByteWindow(io.RawIOBase):
    """The bytes [offset, offset + size) of a file, read-only and seekable.

    Args:
        path: an existing file, such as a tar shard.
        member: (offset, size) in bytes.
    Raises:
        VideoError: the file ends before the window does, or cannot be opened.
    """

    def __init__(self, path: Path, member: tuple[int, int]) -> None:
        super().__init__()
        self._offset, self._size = member
        self._at = 0
        if self._offset < 0 or self._size <= 0:
            raise VideoError(path, f"no member of a shard lies at byte {self._offset} with {self._size} bytes")
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as err:
            raise VideoError(path, f"it may not be read ({err.strerror})") from err
        total = self._file.seek(0, io.SEEK_END)
        if self._offset + self._size > total:
            self.close()
            raise VideoError(
                path, f"the shard has {total} bytes, its member ends at {self._offset + self._size}; was it cut short?"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the window goes; the number of bytes, 0 at its end."""
        view = memoryview(buffer)[: max(self._size - self._at, 0)]
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place counted from the window's start, from here, or from its end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"ByteWindow.seek: {base + offset} lies before the window.")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Place in the window."""
        return self._at
