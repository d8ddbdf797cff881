"""Files worked through by several processes, any of which may crash or hang at a file without harm to the rest."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from videozoo.files import FolderTaken, claim_folder, lock_folder, write_file

# A worker looks after its parent so often.
PARENT_SECONDS = 1.0
# A worker is replaced after so many items: decoders do not give back all memory.
RENEW_ITEMS = 2000


class WorkError(ValueError):
    """A job over many files that cannot go on; the message says what to change."""


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Args:
        item: as given.
        value: what the function gave; None where it did not.
        trouble: why it did not: the process died, or took too long.
    """

    item: Any
    value: Any = None
    trouble: str = ""


def run_all(
    function: Callable[[Any], Any], items: Iterable[Any], *, workers: int, limit_sec: float
) -> Generator[Outcome]:
    """Call a function for every item, each in one of several processes; outcomes in the order in which they end.

    Args:
        function: gives something small, and raises only where all shall stop.
        items: taken as workers become free.
        workers: processes, at least 1.
        limit_sec: an item that takes longer has its process killed.
    Raises:
        WorkError: the function raised; with its message.
    """
    waiting = iter(items)
    crew = [_Worker(function) for _ in range(workers)]
    try:
        busy = [worker for worker in crew if worker.take_next(waiting, limit_sec)]
        while busy:
            nearest = min(worker.deadline for worker in busy)
            wait([worker.connection for worker in busy], max(nearest - time.monotonic(), 0))
            for worker in busy:
                outcome = worker.outcome(limit_sec)
                if outcome is not None:
                    yield outcome
                    worker.take_next(waiting, limit_sec)
            busy = [worker for worker in busy if worker.is_busy]
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process and the item it is at."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._process: BaseProcess | None = None
        self._item: Any = None
        self._num_items = 0
        self.is_busy = False
        self.deadline = 0.0

    def take_next(self, items: Iterator[Any], limit_sec: float) -> bool:
        for item in items:
            if self._num_items >= RENEW_ITEMS:
                self.end()
            if self._process is None:
                self._start()
            self._num_items += 1
            # A process that died while it had nothing to do is replaced; else sending would raise.
            try:
                self.connection.send(item)
            except OSError:
                self.end()
                self._start()
                self.connection.send(item)
            self._item, self.is_busy, self.deadline = item, True, time.monotonic() + limit_sec
            return True
        return False

    def outcome(self, limit_sec: float) -> Outcome | None:
        """What became of the item, if that is known by now."""
        try:
            if self.connection.poll():
                is_fine, value = self.connection.recv()
                if not is_fine:
                    raise WorkError(value)
                return self._finish(value=value)
        except (EOFError, OSError):
            return self._finish(trouble=f"the process that read it died{self._cause()}")
        if time.monotonic() >= self.deadline:
            self.end()
            return self._finish(trouble=f"it took more than {limit_sec:g} s")
        return None

    def end(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()
            self._process = None

    def _start(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=_serve, args=(theirs, self.connection, self._function), daemon=True
        )
        self._process.start()
        self._num_items = 0
        theirs.close()

    def _cause(self) -> str:
        if self._process is None:
            return ""
        self._process.join(5)
        code = self._process.exitcode
        self.end()
        return f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""

    def _finish(self, **result: Any) -> Outcome:
        self.is_busy = False
        return Outcome(self._item, **result)


def _serve(connection: Connection, other_end: Connection, function: Callable[[Any], Any]) -> None:
    """A worker's life; it ends with its parent."""
    with contextlib.suppress(OSError):
        other_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        while not connection.poll(PARENT_SECONDS):
            if is_orphan():
                return
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (True, function(item))
        except Exception as error:
            answer = (False, str(error) or type(error).__name__)
        try:
            connection.send(answer)
        except OSError:
            return


def is_orphan() -> bool:
    """Whether this process was started by one that is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


class Journal:
    """Lines of JSON that are added one by one; what a killed process left half written is passed over.

    Args:
        path: the file, in a folder that this process holds; made if it is not there.
    Raises:
        WorkError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "ab+")  # noqa: SIM115
        except OSError as error:
            raise WorkError(f"{path}: cannot be written ({error.strerror}).") from error

    def read(self) -> Iterator[dict[str, Any]]:
        """What is in it."""
        self._file.seek(0)
        for line in self._file:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry

    def add(self, entry: dict[str, Any]) -> None:
        """Add a line."""
        # On a line of its own, even if the last one was cut off.
        try:
            self._file.seek(0, os.SEEK_END)
            end = self._file.tell()
            if end:
                self._file.seek(end - 1)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise WorkError(f"{self.path}: cannot be written ({error.strerror}); run again to go on.") from error

    def close(self) -> None:
        """End writing."""
        with contextlib.suppress(OSError):
            self._file.close()


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file as `videozoo.files.write_file` does.

    Raises:
        WorkError: the disk refused.
    """
    try:
        write_file(path, text)
    except OSError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror}).") from error


@contextlib.contextmanager
def hold_folder(folder: Path, kind: str) -> Iterator[None]:
    """Keep a folder for one kind of result, and for this process alone, while it is filled.

    Args:
        folder: new, empty, or as an earlier run of the same command left it.
        kind: one of `videozoo.files.KINDS`.
    Raises:
        WorkError: it holds other things, another process writes it, or it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(folder))
            claim_folder(folder, kind, alone=True)
        except FolderTaken as error:
            raise WorkError(f"{folder}: {error.strerror}.") from error
        except OSError as error:
            raise WorkError(f"{folder}: cannot be made a folder ({error.strerror}).") from error
        yield
