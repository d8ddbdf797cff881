"""What visitors sent, kept as long as their page is open and no longer."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

__all__ = ["Uploads"]


class Uploads:
    """A folder of its own, in which every file belongs to the open pages that showed it.

    A file with the same content is one file for all pages: it goes when the last of them is closed. Files that belong
    to no page (an upload that was broken off) are left to the age limit of ``build_page``, and all to ``close``.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="videozoo-demo-")).resolve()
        self._pages: dict[str, set[Path]] = {}
        self._lock = threading.Lock()

    def claim(self, page: str, path: str | os.PathLike[str]) -> None:
        """A page shows a file of the folder, in place of the one it showed before.

        Raises:
            ValueError: a path outside the folder.
        """
        file = Path(path).resolve()
        if self.folder not in file.parents:
            raise ValueError("the demo reads uploaded files only")
        with self._lock:
            before = self._pages.get(page, set())
            self._pages[page] = {file}
            self._delete_unowned(before)

    def release(self, page: str) -> None:
        """A page is closed, or shows no file any more."""
        with self._lock:
            self._delete_unowned(self._pages.pop(page, set()))

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete_unowned(self, files: set[Path]) -> None:
        owned = {file for files_of_page in self._pages.values() for file in files_of_page}
        for file in files - owned:
            # The file may lie in a folder named after its content; its name is the visitor's.
            file.unlink(missing_ok=True)
            parent = file.parent
            if parent != self.folder and not any(parent.iterdir()):
                parent.rmdir()
