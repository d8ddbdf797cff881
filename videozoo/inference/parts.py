"""Scores on their way to one Parquet file: parts that are there whole or not at all, and their merging."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videozoo.extras import require
from videozoo.files import LOCK, FolderTaken, Lock, remove_leftovers, side_name, write_file

from .predictor import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of one row group of the merged file.
GROUP_ROWS = 4096


class JobError(ValueError):
    """A job over a list that cannot go on; the message says what to change."""


def scores_schema(about: dict[str, str]) -> "pa.Schema":
    """The columns, with what the file says about itself.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    pa = require("pyarrow", "a Parquet file")
    columns = {
        "index": pa.int64(),
        "path": pa.string(),
        "error": pa.string(),
        "classes": pa.list_(pa.string()),
        "class_scores": pa.list_(pa.float32()),
        "scores": pa.list_(pa.float32()),
    }
    return pa.schema(columns, metadata=about)


def scores_table(
    schema: "pa.Schema", indices: Sequence[int], answers: Sequence[Prediction], class_names: Sequence[str], topk: int
) -> "pa.Table":
    """A row per answer; scores and classes are null where there is an error."""
    import pyarrow as pa

    rows: dict[str, list[Any]] = {name: [] for name in schema.names}
    for index, answer in zip(indices, answers, strict=True):
        best = None if answer.scores is None else np.argsort(-answer.scores, kind="stable")[:topk]
        rows["index"].append(index)
        rows["path"].append(as_utf8(answer.path))
        rows["error"].append(None if answer.error is None else as_utf8(answer.error))
        rows["classes"].append(None if best is None else [class_names[label] for label in best])
        rows["class_scores"].append(None if answer.scores is None else answer.scores[best])
        rows["scores"].append(answer.scores)
    return pa.Table.from_pydict(rows, schema=schema)


def as_utf8(text: str) -> str:
    """A file's name that is no UTF-8 cannot stand in the file as it is."""
    return text.encode("utf-8", "backslashreplace").decode()


class Parts:
    """The folder beside an unfinished file: ``job.json`` and the rows so far, ``START-STOP.parquet`` each.

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

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()

    def num_rows(self) -> int:
        """Rows that are safe; what does not join on to them (a damaged disk) is thrown away."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        stop = 0
        for path in self._paths():
            first, last = map(int, path.stem.split("-"))
            try:
                is_whole = first == stop and pq.read_metadata(path).num_rows == last - first
            except (pa.ArrowException, OSError):
                is_whole = False
            if not is_whole:
                path.unlink()
                continue
            stop = last
        return stop

    def add(self, first: int, table: "pa.Table") -> None:
        """Write the rows from ``first`` on."""
        import pyarrow.parquet as pq

        path = self.folder / f"{first:012d}-{first + len(table):012d}.parquet"
        write_whole(path, lambda file: pq.write_table(table, file))

    def tables(self, schema: "pa.Schema") -> "Iterator[pa.Table]":
        """The rows so far, in order."""
        import pyarrow.parquet as pq

        for path in self._paths():
            yield pq.read_table(path, schema=schema)

    def merge(self, schema: "pa.Schema", output: Path | None = None, columns: Sequence[str] | None = None) -> int:
        """Make the output of all parts, remove the folder, and give the number of rows with an error.

        Args:
            schema: of the parts.
            output: the Parquet file, where it is not the output itself.
            columns: those that it takes; None: all.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        kept = pa.schema([schema.field(name) for name in columns or schema.names], metadata=schema.metadata)

        num_errors = 0

        def fill(file: Any) -> None:
            nonlocal num_errors
            waiting: list[pa.Table] = []
            with pq.ParquetWriter(file, kept) as writer:
                for table in self.tables(schema):
                    waiting.append(table.select(kept.names))
                    num_errors += len(waiting[-1]) - waiting[-1]["error"].null_count
                    if sum(map(len, waiting)) >= GROUP_ROWS:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting.clear()
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))

        write_whole(output or self.output, fill, side=side_name(self.folder / "merged"))
        self.remove()
        return num_errors

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def _paths(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if re.fullmatch(r"[0-9]{12}-[0-9]{12}\.parquet", p.name))


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
