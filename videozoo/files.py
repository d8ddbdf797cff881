"""Files and folders on disk: written whole or not at all, held by one process, filled with one kind of result.

What the disk refuses is raised as an ``OSError`` with its file name. Callers turn it into an error of their own.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Self

__all__ = [
    "KINDS",
    "LOCK",
    "FolderTaken",
    "Lock",
    "claim_folder",
    "install_file",
    "lock_folder",
    "recover_folder",
    "remove_folder",
    "remove_leftovers",
    "replace_folder",
    "side_name",
    "write_file",
]

# What shows which kind of result a folder holds: the first kind found. Each kind writes one of its marks first, but
# for pictures, which replace each other only.
KINDS = {
    "a quickstart": ("quickstart.json",),
    "a training run": ("args.json", "last", ".last.old", "best", "summary.csv"),
    "a check of videos": ("checked.jsonl",),
    "prepared videos": ("prepared.jsonl",),
    "an evaluation": ("scores.safetensors", "scores*.safetensors.parts", "videos.csv"),
    "the weights of a model": ("model.safetensors",),
    "pictures": (),
}
LOCK = ".lock"
# Raised by file systems that have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def write_file(path: Path, content: str | bytes | Callable[[BinaryIO], Any], side: Path | None = None) -> None:
    """Write a file under a side name, flush it to the disk and rename it: readers see the old content or the new.

    Args:
        path: the file. Its folder exists.
        content: text, bytes, or a function that writes into the open file. Text may hold paths of any bytes.
        side: where it is written before it has its name, on the same disk. None for a hidden name beside it.
    Raises:
        OSError: the disk refused. The old file is still in place.
    """
    temporary = side or side_name(path)
    try:
        with open(temporary, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def install_file(temporary: Path, path: Path) -> None:
    """Give a file that a library has written its mode and its name, once it is on the disk.

    Raises:
        OSError: the disk refused. The old file is still in place.
    """
    mode = _new_file_mode(path.parent)
    _settle_file(temporary, mode)
    os.replace(temporary, path)


def replace_folder(folder: Path, fill: Callable[[Path], Any]) -> None:
    """Put a folder made by ``fill`` in the place of ``folder``, which stays whole or is restored by the next call.

    It is written beside it, flushed to the disk, and renamed. Between the two renames a killed process leaves the old
    folder under its side name, and `recover_folder` puts it back. The files in it get the mode that the umask gives.

    Raises:
        OSError: the disk refused. The old folder is still in place.
    """
    temporary, previous = side_name(folder), _old_name(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(folder)
        temporary.mkdir()
        fill(temporary)
        mode = _new_file_mode(temporary)
        for path in temporary.rglob("*"):
            if path.is_file():
                _settle_file(path, mode)
        _sync_folder(temporary)
        if folder.exists():
            folder.rename(previous)
        temporary.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:  # Ctrl-C too must leave the old folder in place
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder: it is whole until it is gone, and `recover_folder` removes what a killed process left of it.

    Raises:
        OSError: the disk refused.
    """
    temporary = side_name(folder)
    folder.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Finish what a killed `replace_folder` left: the old folder goes back if the new one never came, else it goes.

    Only the process that may write the folder calls it.
    """
    previous = _old_name(folder)
    if folder.parent.is_dir():
        name = re.compile(rf"\.{re.escape(folder.name)}(\.[0-9]+)?\.tmp")
        for path in folder.parent.iterdir():
            if name.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
    if previous.exists():
        if folder.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(folder)


def side_name(path: Path) -> Path:
    """Return the hidden name beside ``path`` under which this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove those of ``paths`` that a killed process had begun to write.

    Nobody else may be writing there.
    """
    for path in list(paths):
        if re.fullmatch(r"\..+\.[0-9]+\.tmp", path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


class FolderTaken(OSError):
    """Another process writes into a folder, or it holds another kind of result.

    ``strerror`` says what to do.
    """


class Lock:
    """A file that one process holds until it closes the lock or ends, however it ends.

    Processes that were forked from it do not hold it. A file system without locks grants it to everybody.

    Args:
        path: made where it does not exist, with its folder. `close` removes it, and the folder if it stayed empty.
        what: named in the error.
    Raises:
        FolderTaken: another process holds it.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, what: Path) -> None:
        self._path = path
        self._made_folder = not path.parent.exists()
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file = open(path, "ab")  # noqa: SIM115
            except FileNotFoundError:  # its folder was removed in between
                continue
            if not _try_lock(self._file.fileno()):
                self._file.close()
                advice = "another process is writing it; end that one, or give another --output"
                raise FolderTaken(errno.EBUSY, advice, str(what))
            if self._is_current():
                return
            self._file.close()  # the one that held it has removed the file

    def close(self) -> None:
        """Let another process have it."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):
            if self._is_current():
                self._path.unlink()
            if self._made_folder:  # and nothing was put into it
                self._path.parent.rmdir()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except FileNotFoundError:
            return False


def lock_folder(folder: Path) -> Lock:
    """Make ``folder`` where it does not exist and keep other processes of videozoo from writing into it.

    Raises:
        FolderTaken: another process writes into it.
        OSError: it cannot be made.
    """
    return Lock(folder / LOCK, folder)


def claim_folder(folder: Path, kind: str, *, beside: Iterable[str] = (), alone: bool = False) -> None:
    """Make ``folder`` for one kind of result, or find it as an earlier call of the same kind left it.

    Args:
        folder: new, or without results of another kind.
        kind: one of ``KINDS``.
        beside: other kinds whose results may be there as well.
        alone: refuse any file that is not of this kind, too.
    Raises:
        FolderTaken: it holds something else, which must not be mixed with what is written.
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = next((other for other in KINDS if other not in beside and _has(folder, other)), None)
    if found not in (kind, None):
        raise FolderTaken(errno.EBUSY, f"holds {found}; give another folder with --output", str(folder))
    if alone and found is None and any(path.name != LOCK for path in folder.iterdir()):
        raise FolderTaken(errno.EBUSY, "holds other files; give a new folder with --output", str(folder))


def _has(folder: Path, kind: str) -> bool:
    return any(any(folder.glob(mark)) for mark in KINDS[kind])


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # not on this system
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return True


def _old_name(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _new_file_mode(folder: Path) -> int:
    """Return the permissions of a new file there: the umask cannot be read without setting it for all threads."""
    probe = side_name(folder / "mode")
    try:
        with open(probe, "wb") as file:
            return os.fstat(file.fileno()).st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)


def _settle_file(path: Path, mode: int) -> None:
    """Give a closed file its mode, and flush it to the disk."""
    with open(path, "rb+") as file:
        if os.fstat(file.fileno()).st_mode & 0o777 != mode:
            os.chmod(path, mode)
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
