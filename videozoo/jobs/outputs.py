"""The files that rows of a job become: Parquet, csv, or an array with a table beside it."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videozoo.extras import require
from videozoo.files import side_name
from videozoo.text import csv_text

from .parts import JobError, Parts, Rows, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of one row group of a Parquet file.
GROUP_ROWS = 4096


@dataclass(frozen=True)
class Finished:
    """What a finished output says of itself."""

    job: dict[str, Any]
    num_videos: int
    num_errors: int


class ParquetFile:
    """One Parquet file; the job is in its metadata.

    Args:
        columns: name -> a function of pyarrow that gives its type.
        about: what the file says of itself.
        fill: gives the columns of some rows.
    Raises:
        MissingPackageError: pyarrow is not installed.
    """

    def __init__(
        self,
        columns: dict[str, Callable[[Any], "pa.DataType"]],
        about: dict[str, str],
        fill: Callable[[Rows], dict[str, Any]],
    ) -> None:
        pa = require("pyarrow", "a Parquet file")
        self.schema = pa.schema({name: type_of(pa) for name, type_of in columns.items()}, metadata=about)
        self.fill = fill

    def find(self, path: Path) -> Finished | None:
        """Return what the finished file says, None where there is none.

        Raises:
            JobError: a file of something else has this name.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.exists():
            return None
        try:
            with pq.ParquetFile(path) as file:
                job = json.loads((file.schema_arrow.metadata or {})[b"job"])
                groups = file.iter_batches(columns=["error"])
                num_errors = sum(len(group) - group.column(0).null_count for group in groups)
                return Finished(job, file.metadata.num_rows, num_errors)
        except (pa.ArrowException, KeyError, ValueError):
            raise _foreign(path) from None

    def write(self, parts: Parts) -> int:
        """Make the file of all parts; return the number of rows with an error."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        num_errors = 0

        def fill(file: Any) -> None:
            nonlocal num_errors
            waiting: list[pa.Table] = []
            with pq.ParquetWriter(file, self.schema) as writer:
                for rows in parts.rows():
                    num_errors += rows.num_errors
                    waiting.append(pa.Table.from_pydict(self.fill(rows), schema=self.schema))
                    if sum(map(len, waiting)) >= GROUP_ROWS:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting.clear()
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))

        write_whole(parts.output, fill, side=side_name(parts.folder / "merged"))
        return num_errors


class _FileWithJob:
    """A file that cannot say what it is of; ``NAME.json`` beside it does, and is written last.

    Args:
        about: what the file says of itself.
        job: all that the rows depend on.
    """

    def __init__(self, about: dict[str, str], job: dict[str, Any]) -> None:
        self.about, self.job = about, job

    def find(self, path: Path) -> Finished | None:
        """Return what the finished output says, None where it is not finished.

        Raises:
            JobError: a file of something else has this name.
        """
        beside = _beside(path, ".json")
        if not path.exists():
            return None
        try:
            finished = Finished(**json.loads(beside.read_text(encoding="utf-8"))["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            if Parts.is_begun(path):  # killed between the array and the file that says that it is finished
                return None
            raise _foreign(path) from None
        if finished.job == self.job and not self._is_whole(path, finished.num_videos):
            return None  # it is made again
        return finished

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        raise NotImplementedError

    def _finish(self, path: Path, num_rows: int, num_errors: int) -> None:
        finished = {"job": self.job, "num_videos": num_rows, "num_errors": num_errors}
        about = {**self.about, "finished": finished}
        write_whole(_beside(path, ".json"), json.dumps(about, indent=2).encode())


class CsvFile(_FileWithJob):
    """Rows as csv.

    Args:
        about: what the file says of itself.
        job: all that the rows depend on.
        fill: gives the columns of some rows.
    """

    def __init__(self, about: dict[str, str], job: dict[str, Any], fill: Callable[[Rows], dict[str, Any]]) -> None:
        super().__init__(about, job)
        self.fill = fill

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        """Return whether the header and all rows are there."""
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return sum(1 for _ in csv.reader(file)) == 1 + num_rows

    def write(self, parts: Parts) -> int:
        """Make the file, then the one with the job; return the number of rows with an error."""
        num_rows = num_errors = 0

        def fill(file: Any) -> None:
            nonlocal num_rows, num_errors
            for rows in parts.rows():
                columns = self.fill(rows)
                header = [columns] if num_rows == 0 else []
                text = csv_text([*header, *zip(*columns.values(), strict=True)])
                file.write(text.encode("utf-8", "surrogateescape"))
                num_rows, num_errors = num_rows + len(rows), num_errors + rows.num_errors

        write_whole(parts.output, fill, side=side_name(parts.folder / "merged"))
        self._finish(parts.output, num_rows, num_errors)
        return num_errors


class ArrayFile(_FileWithJob):
    """The values alone as ``.npy`` or ``.safetensors``; ``NAME.csv`` beside it has the columns, ``NAME.json`` the job.

    Args:
        shape: of the values of one video.
        about: what the file says of itself.
        job: all that the rows depend on.
    """

    def __init__(self, shape: tuple[int, ...], about: dict[str, str], job: dict[str, Any]) -> None:
        super().__init__(about, job)
        self.shape = shape

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        """Return whether the array has its length and its table is there."""
        shape = (num_rows, *self.shape)
        size = len(self._header(path.suffix, shape)) + 4 * int(np.prod(shape))
        return path.stat().st_size == size and _beside(path, ".csv").exists()

    def write(self, parts: Parts) -> int:
        """Make the array and the files beside it, the job's last; return the number of rows with an error."""
        num_rows = parts.num_rows()
        table: list[Iterable[Any]] = []
        num_errors = 0

        def fill(file: Any) -> None:
            nonlocal num_errors
            file.write(self._header(parts.output.suffix, (num_rows, *self.shape)))
            for number, rows in enumerate(parts.rows()):
                file.write(rows.values.astype("<f4").tobytes())
                if number == 0:
                    table.append(rows.columns)
                table.extend(zip(*rows.columns.values(), strict=True))
                num_errors += rows.num_errors

        write_whole(parts.output, fill, side=side_name(parts.folder / "array"))
        write_whole(_beside(parts.output, ".csv"), csv_text(table).encode("utf-8", "surrogateescape"))
        self._finish(parts.output, num_rows, num_errors)
        return num_errors

    def _header(self, suffix: str, shape: tuple[int, ...]) -> bytes:
        """Return what is before the numbers: both formats are a header and the numbers in order."""
        if suffix == ".npy":
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
            return header.getvalue()
        row = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape))]}
        text = json.dumps({"__metadata__": self.about, "features": row}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _foreign(path: Path) -> JobError:
    return JobError(f"{path}: exists and holds no scores or features of videozoo; give another --output.")
