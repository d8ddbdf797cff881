"""Journal of a job, one line per finished file, and the work on the remaining files."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .errors import JobError
from .process_pool import run_all


class Journal:
    """Lines of JSON that are added one by one.

    What a killed process left half written is passed over.

    Args:
        path: the file, in a folder that this process holds. Made if it is not there.
    Raises:
        JobError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "ab+")  # noqa: SIM115
        except OSError as error:
            raise JobError(f"{path}: cannot be written ({error.strerror}).") from error

    def read(self) -> Iterator[dict[str, Any]]:
        """Return the content."""
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
            raise JobError(f"{self.path}: cannot be written ({error.strerror}); run again to go on.") from error

    def close(self) -> None:
        """End writing."""
        with contextlib.suppress(OSError):
            self._file.close()


def finish_journal(
    journal: Journal,
    done: dict[Any, dict[str, Any]],
    rest: Mapping[Any, Any],
    function: Callable[[Any], dict[str, Any]],
    to_line: Callable[[Any, dict[str, Any]], dict[str, Any]],
    *,
    workers: int,
    limit_sec: float,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Work through what a journal lacks, in several processes.

    Each answer is in it, and in ``done``, at once.

    Args:
        done: what the journal says already, by key. An answer with a true ``error`` counts as broken.
        rest: the items that it lacks, by key.
        function: gives the answer for an item. See `run_all`.
        to_line: gives the journal's line of a key and its answer.
        on_progress: called with the number of answers and the broken ones among them.
    Raises:
        JobError: the function raised, or the disk refused.
    """
    num_broken = sum(bool(answer.get("error")) for answer in done.values())
    if on_progress is not None:
        on_progress(len(done), num_broken)
    workers = min(workers, max(len(rest), 1))
    outcomes = run_all(partial(_call, function), rest.items(), workers=workers, limit_sec=limit_sec)
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            key, _ = outcome.item
            answer = outcome.value or {"error": outcome.trouble}
            journal.add(to_line(key, answer))
            done[key] = answer
            num_broken += bool(answer.get("error"))
            if on_progress is not None:
                on_progress(len(done), num_broken)


def _call(function: Callable[[Any], dict[str, Any]], pair: tuple[Any, Any]) -> dict[str, Any]:
    return function(pair[1])
