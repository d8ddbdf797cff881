"""Uploaded files, deleted when their page is closed."""

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

__all__ = ["Uploads"]

SWEEP_SEC = 60
# A page that has asked for nothing for an hour is taken for closed; a file that no page has shown goes sooner.
IDLE_SEC, UNOWNED_SEC = 3600, 600


class Uploads:
    """A folder of its own, in which every file belongs to the open pages that show it.

    A file with the same content is one file for all pages: it goes when the last of them is closed. What belongs to no
    page (an upload that was broken off) is looked for every minute.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="videozoo-demo-")).resolve()
        self._shown: dict[str, tuple[Path, float]] = {}  # by page: its file, and when it last asked for it
        self._reserved = 0  # bytes that are on their way
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        threading.Thread(target=self._sweep_on, daemon=True).start()

    def claim(self, page: str, path: str | os.PathLike[str]) -> None:
        """A page shows a file of the folder, in place of the one it showed before.

        Raises:
            ValueError: a path outside the folder.
        """
        file = Path(path).resolve()
        if self.folder not in file.parents:
            raise ValueError("the demo reads uploaded files only")
        with self._lock:
            before, _ = self._shown.get(page, (file, 0.0))
            self._shown[page] = file, time.time()
            self._delete_unowned(before)

    def reserve(self, num_bytes: int, most_bytes: float) -> bool:
        """Reserve space for a file before it arrives.

        False if all files together would be too large.

        Files that no page has shown for a minute are deleted first. `give_back` returns it, when the file is there.
        """
        for _ in range(2):
            with self._lock:
                if self._size() + self._reserved + num_bytes <= most_bytes:
                    self._reserved += num_bytes
                    return True
            self.sweep(time.time() + UNOWNED_SEC - SWEEP_SEC, idle=False)
        return False

    def give_back(self, num_bytes: int) -> None:
        """Return what `reserve` took."""
        with self._lock:
            self._reserved -= num_bytes

    def _size(self) -> int:
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())

    def release(self, page: str) -> None:
        """A page is closed, or shows no file any more."""
        with self._lock:
            file, _ = self._shown.pop(page, (None, 0.0))
            if file is not None:
                self._delete_unowned(file)

    def sweep(self, now: float, idle: bool = True) -> None:
        """Delete what has been left: files of idle pages, files of no page, empty folders.

        Args:
            now: seconds, as of ``time.time``.
            idle: whether pages that have asked for nothing for long are taken for closed.
        """
        with self._lock:
            pages = [page for page, (_, asked) in self._shown.items() if idle and asked < now - IDLE_SEC]
        for page in pages:
            self.release(page)
        with self._lock:
            for path in sorted(self.folder.rglob("*"), reverse=True):  # what a folder holds comes before it
                if _changed(path) < now - UNOWNED_SEC:
                    self._delete_unowned(path)

    def close(self) -> None:
        """Delete everything."""
        self._is_closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep_on(self) -> None:
        while not self._is_closed.wait(SWEEP_SEC):
            self.sweep(time.time())

    def _delete_unowned(self, path: Path) -> None:
        """Delete a file that no page shows, and the folder named after its content."""
        if path in (file for file, _ in self._shown.values()):
            return
        if not path.is_dir():
            path.unlink(missing_ok=True)
            path = path.parent
        if path != self.folder and path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # deleted meanwhile
        return float("inf")
