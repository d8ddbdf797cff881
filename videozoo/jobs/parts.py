"""Rows of a job over a list on their way to one file: parts that are on the disk whole or not at all."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from videozoo.files import LOCK, FolderTaken, Lock, remove_leftovers, write_file


class JobError(ValueError):
    """A job over a list that cannot go on; the message says what to change."""


@dataclass(frozen=True)
class Rows:
    """A row per video.

    Args:
        columns: name -> a number, text or None per video; ``error`` is None where the video was read.
        values: its scores or features, float32 (N, D), NaN where it could not be read.
    """

    columns: dict[str, list[Any]]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def num_errors(self) -> int:
        return len(self) - self.columns["error"].count(None)

    def where_read(self, values: Sequence[Any] | np.ndarray) -> list[Any]:
        """Return the values of the videos that were read, None for the others."""
        return [None if error else value for error, value in zip(self.columns["error"], values, strict=True)]


class Parts:
    """The folder beside an unfinished file: ``job.json`` and the rows so far, ``START-STOP.safetensors`` each.

    Args:
        output: the file that is to be.
        job: what the rows are; a folder of another job is refused.
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

    def num_rows(self) -> int:
        """Count the rows that are safe. A part that does not join on to them (a damaged disk) is removed."""
        stop = 0
        for path in self._paths():
            first, last = map(int, path.stem.split("-"))
            if first != stop or not _is_whole(path, last - first):
                path.unlink()
                continue
            stop = last
        return stop

    def add(self, first: int, rows: Rows) -> None:
        """Write the rows from ``first`` on."""
        path = self.folder / f"{first:012d}-{first + len(rows):012d}.safetensors"
        write_whole(path, save({"values": rows.values}, metadata={"columns": json.dumps(rows.columns)}))

    def rows(self) -> Iterator[Rows]:
        """Read the rows so far, in order, a part at a time."""
        for path in self._paths():
            with safe_open(path, "np") as file:
                yield Rows(json.loads(file.metadata()["columns"]), file.get_tensor("values"))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def _paths(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if re.fullmatch(r"[0-9]{12}-[0-9]{12}\.safetensors", p.name))


def _is_whole(path: Path, num_rows: int) -> bool:
    try:
        with safe_open(path, "np") as file:
            return bool(file.get_slice("values").get_shape()[0] == num_rows)
    except (SafetensorError, OSError):
        return False


def parts_folder(output: Path) -> Path:
    """Where the rows of an unfinished file are."""
    return output.with_name(f"{output.name}.parts")


def check_same_job(found: dict[str, Any], wanted: dict[str, Any], where: Path) -> None:
    """Refuse to mix two jobs.

    Raises:
        JobError: names the first thing that differs.
    """
    for key in wanted:
        if found.get(key) != wanted[key]:
            raise JobError(
                f"{where}: belongs to another run ({key.replace('_', ' ')}: {_short(found.get(key))}, now "
                f"{_short(wanted[key])}); remove it, or give another --output."
            )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:16]}...{text[-8:]}"


def write_whole(path: Path, content: bytes | Callable[[Any], Any], side: Path | None = None) -> None:
    """Write a file as `videozoo.files.write_file` does.

    Raises:
        JobError: the disk refused.
    """
    try:
        write_file(path, content, side)
    except OSError as error:
        raise JobError(
            f"{path}: cannot be written ({error.strerror or error}); what is finished is kept, run again to go on."
        ) from error
