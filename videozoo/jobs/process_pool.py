"""Files worked through by several processes, any of which may crash or hang at a file without harm to the rest."""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from videozoo.freed_memory import return_freed_memory
from videozoo.video.limits import CAN_WATCH, watched

from .errors import JobError

# A worker looks after its parent so often.
PARENT_SECONDS = 1.0
# A worker is replaced after so many items: decoders do not give back all memory.
RENEW_ITEMS = 2000
# A process that neither works nor ends, as where a disk does not answer, is killed after the limit by the clock. Where
# the system does not say how much it works, that is ten times the limit: a busy machine lets others work meanwhile.
IDLE_FACTOR = 1 if not CAN_WATCH or Path("/proc/self/stat").exists() else 10


@dataclass(frozen=True)
class Outcome:
    """Outcome of an item.

    Args:
        item: as given.
        value: what the function gave. None where it did not.
        trouble: why it did not: the process died, or took too much time.
    """

    item: Any
    value: Any = None
    trouble: str = ""


def run_all(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int,
    limit_sec: float,
    in_order: bool = False,
) -> Generator[Outcome]:
    """Call a function for every item, each in one of several processes.

    Args:
        function: gives something small, or tensors (their memory is shared), and raises only where all shall stop.
        items: taken as workers become free.
        workers: processes, at least 1.
        limit_sec: an item that takes more processor time has its process killed. See `limits.watched`.
        in_order: give the outcomes in the order of the items, few of which are then worked on ahead. Else as they end.
    Raises:
        JobError: the function raised. With its message.
    """
    waiting = enumerate(items)
    crew = [_Worker(function, limit_sec) for _ in range(workers)]
    ready: dict[int, Outcome] = {}
    num_ended = num_given = 0
    try:
        while True:
            for worker in crew:  # before an outcome is handed out, as whoever takes it may work on it for long
                if not worker.is_busy and len(ready) <= 2 * workers:
                    worker.take_next(waiting)
            busy = [worker for worker in crew if worker.is_busy]
            if num_given in ready:
                yield ready.pop(num_given)
                num_given += 1
            elif not busy:
                return
            else:
                wait([worker.connection for worker in busy], _seconds_left(busy))
            for worker in busy:
                outcome = worker.outcome()
                if outcome is not None:
                    ready[worker.place if in_order else num_ended] = outcome
                    num_ended += 1
    finally:
        for worker in crew:
            worker.end()


def _seconds_left(busy: "list[_Worker]") -> float:
    """Until the first of them has taken too long."""
    return max(min(worker.deadline for worker in busy) - time.monotonic(), 0)


class _Worker:
    """A process and the item it is at."""

    def __init__(self, function: Callable[[Any], Any], limit_sec: float) -> None:
        self._function, self._limit_sec = function, limit_sec
        self._process: BaseProcess | None = None
        self._item: Any = None
        self._num_items = self._num_ticks = 0
        self.place = 0
        self.is_busy = False
        self.deadline = 0.0

    def take_next(self, items: Iterator[tuple[int, Any]]) -> None:
        for place, item in items:
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
            self._item, self.place, self.is_busy = item, place, True
            self._num_ticks = self._num_ticks_now()
            self._set_deadline()
            return

    def outcome(self) -> Outcome | None:
        """Return the outcome of the item, or None if it is not known yet."""
        try:
            if self.connection.poll():
                is_fine, value = self.connection.recv()
                if not is_fine:
                    raise JobError(value)
                return self._finish(value=value)
        except (EOFError, OSError):
            return self._finish(trouble=self._cause())
        if time.monotonic() >= self.deadline:
            if self._has_worked():
                self._set_deadline()
                return None
            self.end()
            return self._finish(trouble=f"it did nothing for {self._limit_sec * IDLE_FACTOR:g} s")
        return None

    def _set_deadline(self) -> None:
        self.deadline = time.monotonic() + self._limit_sec * IDLE_FACTOR

    def _has_worked(self) -> bool:
        """Return True where the process has used processor time since the last look. False where no one can say."""
        before, self._num_ticks = self._num_ticks, self._num_ticks_now()
        return CAN_WATCH and self._num_ticks != before

    def _num_ticks_now(self) -> int:
        try:
            assert self._process is not None
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        except OSError:
            return 0

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()
            self._process = None

    def _start(self) -> None:
        self.connection, child_end = multiprocessing.Pipe()
        self._process = multiprocessing.Process(
            target=_serve, args=(child_end, self.connection, self._function, self._limit_sec), daemon=True
        )
        self._process.start()
        self._num_items = 0
        child_end.close()

    def _cause(self) -> str:
        died = "the process that read it died"
        if self._process is None:
            return died
        self._process.join(5)
        code = self._process.exitcode
        self.end()
        if CAN_WATCH and code == -signal.SIGPROF:
            return f"it took more than {self._limit_sec:g} s of processor time"
        return f"{died} ({signal.Signals(-code).name})" if code is not None and code < 0 else died

    def _finish(self, **result: Any) -> Outcome:
        self.is_busy = False
        return Outcome(self._item, **result)


def _serve(connection: Connection, other_end: Connection, function: Callable[[Any], Any], limit_sec: float) -> None:
    """A worker's life. It ends with its parent."""
    return_freed_memory()
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
            with watched(limit_sec):
                answer = (True, function(item))
        except Exception as error:
            answer = (False, str(error) or type(error).__name__)
        try:
            connection.send(answer)
        except OSError:
            return


def is_orphan() -> bool:
    """Return whether this process was started by one that is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()
