"""Rows of a job over a list on their way to one file: parts that are on the disk whole or not at all."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from videozoo.data import VideoRecord
from videozoo.files import LOCK, FolderTaken, Lock, remove_leftovers

from .disk import write_whole
from .errors import JobError
from .listing import Shard
from .prediction import Prediction
from .same_job import check_same_job

PARTS_FORMAT = 1
# Rows wait in memory at most so long, and so many of them, before they are safe on disk.
PART_SECONDS = 30.0
PART_ROWS = 4096
STAMP_LENGTH = 8


@dataclass(frozen=True)
class Rows:
    """A row per video.

    Args:
        columns: ``index`` (place in the list), ``path``, ``label``, ``error``, ``note`` and ``stamp`` (what
            `stamp_file` gave, parts of earlier versions lack it), each with a value or None per video.
        values: its scores or features, float32 (N, D), NaN where it could not be read.
    """

    columns: dict[str, list[Any]]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def num_errors(self) -> int:
        return len(self) - self.columns["error"].count(None)

    def take(self, *names: str) -> dict[str, list[Any]]:
        """Return some of the columns."""
        return {name: self.columns[name] for name in names}

    def where_read(self, values: Sequence[Any] | np.ndarray) -> list[Any]:
        """Return the values of the videos that were read, None for the others."""
        return [None if error else value for error, value in zip(self.columns["error"], values, strict=True)]


class Parts:
    """The folder beside an unfinished file: ``job.json`` and the rows so far, ``START-STOP.safetensors`` each.

    Args:
        output: the file that is to be.
        job: what the rows are. A folder of another job is refused.
    Raises:
        JobError: another job, or another process at work on this one.
    """

    def __init__(self, output: Path, job: dict[str, Any]) -> None:
        self.output = output
        self.folder = parts_folder(output)
        try:
            self._lock = Lock(self.folder / LOCK, output)
        except FolderTaken as error:
            raise JobError(f"{output}: {error.strerror} or --shard.") from error
        job = {**job, "parts_format": PARTS_FORMAT}
        found = self.folder / "job.json"
        if found.is_file():
            check_same_job(json.loads(found.read_text(encoding="utf-8")), job, self.folder)
        else:
            write_whole(found, json.dumps(job, indent=2).encode())
        remove_leftovers(self.folder.iterdir())

    @staticmethod
    def is_begun(output: Path) -> bool:
        """Return whether rows of an unfinished output are there."""
        return (parts_folder(output) / "job.json").is_file()

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()

    def count(self) -> tuple[int, int]:
        """Count the rows that are safe, and the errors among them.

        A part that does not join on to the others (a damaged disk) is removed.
        """
        stop = num_errors = 0
        for path in self._paths():
            first, last = map(int, path.stem.split("-"))
            rows = _read(path)
            if first != stop or rows is None or len(rows) != last - first:
                path.unlink()
                continue
            stop, num_errors = last, num_errors + rows.num_errors
        return stop, num_errors

    def add(self, first: int, rows: Rows) -> None:
        """Write the rows from ``first`` on."""
        path = self.folder / f"{first:012d}-{first + len(rows):012d}.safetensors"
        write_whole(path, save({"values": rows.values}, metadata={"columns": json.dumps(rows.columns)}))

    def rows(self) -> Iterator[Rows]:
        """Read the rows so far, in order, a part at a time."""
        for path in self._paths():
            rows = _read(path)
            if rows is None:
                raise JobError(f"{path}: is damaged; run again to go on.")
            yield rows

    def stamps(self) -> str:
        """Join the stamps of all rows.

        Empty where some lack one.
        """
        found = []
        for path in self._paths():
            stamps = _read_columns(path).get("stamp")
            if stamps is None:
                return ""
            found.append("".join(stamps))
        return "".join(found)

    def redo_changed(self, shard: Shard, answers: "Answers", size: int) -> int:
        """Answer those videos again whose files changed since.

        Gives their number.
        """
        count = 0
        for path in self._paths():
            first, stop = map(int, path.stem.split("-"))
            records = shard[first:stop]
            before, now = _read_columns(path).get("stamp"), [stamp_file(record) for record in records]
            places = [k for k, stamp in enumerate(before or ()) if stamp != now[k]]
            rows = _read(path) if places else None
            if rows is None:
                continue
            again = [records[k] for k in places]
            with closing(answers(again, 0)) as batches:
                given = [answer for some in batches for answer in some]
            indices = [shard.places[first + k] for k in places]
            fresh = _to_rows(again, indices, given, [now[k] for k in places], size)
            values = rows.values.copy()
            values[places] = fresh.values
            for name, column in fresh.columns.items():
                for k, value in zip(places, column, strict=True):
                    rows.columns[name][k] = value
            self.add(first, Rows(rows.columns, values))
            count += len(places)
        return count

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def _paths(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if re.fullmatch(r"[0-9]{12}-[0-9]{12}\.safetensors", p.name))


def _read(path: Path) -> Rows | None:
    """Return the rows of a part, None where it is damaged."""
    try:
        with safe_open(path, "np") as file:
            return Rows(json.loads(file.metadata()["columns"]), file.get_tensor("values"))
    except (SafetensorError, OSError):
        return None


def _read_columns(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a part that is known to be whole, without its values."""
    with safe_open(path, "np") as file:
        columns: dict[str, list[Any]] = json.loads(file.metadata()["columns"])
        return columns


def stamp_file(record: VideoRecord) -> str:
    """Return what changes with a video's file, the same in every folder: of its size and time of change."""
    return hashlib.sha256(repr(record.file_state()).encode()).hexdigest()[:STAMP_LENGTH]


# Gives the answers to some videos from one of them on, some at a time.
Answers = Callable[[Sequence[VideoRecord], int], Generator[list[Prediction]]]


def fill_parts(
    parts: Parts,
    shard: Shard,
    answers: Answers,
    size: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Add the rows of a shard that parts lack, and answer videos again whose files changed since.

    Args:
        answers: gives the answers to some videos from one of them on, some at a time.
        size: values of a video.
        on_progress: called with the videos answered and the errors among them, this run's and earlier ones'.
    Returns:
        the number of rows that were there and stayed, and of all errors.
    Raises:
        JobError: the disk refused.
    """
    parts.count()  # removes damaged parts
    num_redone = parts.redo_changed(shard, answers, size)
    start, num_errors = parts.count()
    done, waiting, stamps, written = start, list[Prediction](), list[str](), time.monotonic()

    def add() -> None:
        span = slice(done, done + len(waiting))
        parts.add(done, _to_rows(shard[span], shard.places[span], waiting, stamps, size))

    if on_progress is not None:
        on_progress(done, num_errors)
    with closing(answers(shard, start)) as batches:
        try:
            for some in batches:
                at = done + len(waiting)
                stamps += [stamp_file(record) for record in shard[at : at + len(some)]]
                waiting += some
                num_errors += sum(answer.error is not None for answer in some)
                is_last = done + len(waiting) == len(shard)
                if is_last or len(waiting) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                    add()
                    done, waiting, stamps, written = done + len(waiting), [], [], time.monotonic()
                if on_progress is not None:
                    on_progress(done + len(waiting), num_errors)
        except KeyboardInterrupt:
            if waiting:
                add()
            raise
    return start - num_redone, num_errors


def _to_rows(
    records: Sequence[VideoRecord],
    indices: Sequence[int],
    answers: Sequence[Prediction],
    stamps: Sequence[str],
    size: int,
) -> Rows:
    """Return the rows of the answers to some records. File names that are no UTF-8 are escaped."""
    values = np.full((len(answers), size), np.nan, np.float32)
    for row, answer in zip(values, answers, strict=True):
        if answer.scores is not None:
            row[:] = answer.scores.ravel()
    columns: dict[str, list[Any]] = {
        "index": list(indices),
        "path": [_as_utf8(answer.path) for answer in answers],
        "label": [None if record.label < 0 else record.label for record in records],
        "error": [None if answer.error is None else _as_utf8(answer.error) for answer in answers],
        "note": [answer.note for answer in answers],
        "stamp": list(stamps),
    }
    return Rows(columns, values)


def _as_utf8(text: str) -> str:
    # Neither JSON nor Parquet holds the bytes of a file name that is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def parts_folder(output: Path) -> Path:
    """Return the folder with the rows of an unfinished file."""
    return output.with_name(f"{output.name}.parts")
