"""The files that rows of a job become: Parquet, csv, JSON lines, or an array with a table beside it."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videozoo.extras import require
from videozoo.files import side_name
from videozoo.text import csv_text, json_text

from .disk import write_whole
from .errors import JobError
from .output_parts import Parts, Rows
from .same_job import find_difference

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of one row group of a Parquet file.
GROUP_ROWS = 4096


@dataclass(frozen=True)
class Finished:
    """Metadata of a finished output.

    Args:
        stamps: of the videos' files, joined. Empty in files of earlier versions.
    """

    job: dict[str, Any]
    num_videos: int
    num_errors: int
    stamps: str = ""


@dataclass(frozen=True)
class Output:
    """Kind of output that the rows of a job become.

    Args:
        job: all that the rows depend on.
        about: what the file says of itself.
        fill: gives the columns of some rows, by name.
        types: of a Parquet file's columns. Name -> a function of pyarrow.
        shape: of the values of one video.
    """

    job: dict[str, Any]
    about: dict[str, str]
    fill: Callable[[Rows], dict[str, Any]]
    types: Mapping[str, Callable[[Any], "pa.DataType"]]
    shape: tuple[int, ...]

    def find(self, path: Path) -> Finished | None:
        """Return what the finished output says, None where it is not finished.

        Raises:
            JobError: a file of something else has this name.
        """
        raise NotImplementedError

    def write(self, parts: Parts, num_rows: int, num_errors: int) -> None:
        """Make the output of all parts."""
        raise NotImplementedError


class ParquetFile(Output):
    """One Parquet file.

    The job is in its metadata.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """

    def __post_init__(self) -> None:
        require("pyarrow", "a Parquet file")

    def find(self, path: Path) -> Finished | None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.exists():
            return None
        try:
            with pq.ParquetFile(path) as file:
                about = file.schema_arrow.metadata or {}
                job, stamps = json.loads(about[b"job"]), about.get(b"stamps", b"").decode()
                groups = file.iter_batches(columns=["error"])
                num_errors = sum(len(group) - group.column(0).null_count for group in groups)
                return Finished(job, file.metadata.num_rows, num_errors, stamps)
        except (pa.ArrowException, KeyError, ValueError):
            raise _foreign(path) from None

    def write(self, parts: Parts, num_rows: int, num_errors: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {**self.about, "job": json.dumps(self.job), "stamps": parts.stamps()}
        schema = pa.schema({name: type_of(pa) for name, type_of in self.types.items()}, metadata=about)

        def fill(file: Any) -> None:
            waiting: list[pa.Table] = []
            with pq.ParquetWriter(file, schema) as writer:
                for rows in parts.rows():
                    waiting.append(pa.Table.from_pydict(self.fill(rows), schema=schema))
                    if sum(map(len, waiting)) >= GROUP_ROWS:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting.clear()
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))

        write_whole(parts.output, fill, _side(parts))


class _FileWithJob(Output):
    """A file that cannot say what it is of. ``NAME.json`` beside it does, and is written last."""

    def find(self, path: Path) -> Finished | None:
        if not path.exists():
            return None
        try:
            finished = Finished(**json.loads(_beside(path, ".json").read_text(encoding="utf-8"))["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            if Parts.is_begun(path):  # killed between the array and the file that says that it is finished
                return None
            raise _foreign(path) from None
        if find_difference(finished.job, self.job) is None and not self._is_whole(path, finished.num_videos):
            return None  # it is made again
        return finished

    def write(self, parts: Parts, num_rows: int, num_errors: int) -> None:
        self._write(parts, num_rows)
        counts = {"num_videos": num_rows, "num_errors": num_errors}
        finished = {"job": self.job, **counts, "stamps": parts.stamps()}
        write_whole(_beside(parts.output, ".json"), json.dumps({**self.about, "finished": finished}, indent=2))

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        raise NotImplementedError

    def _write(self, parts: Parts, num_rows: int) -> None:
        raise NotImplementedError


class CsvFile(_FileWithJob):
    """Rows as csv."""

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        """Return whether the header and all rows are there."""
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return sum(1 for _ in csv.reader(file)) == 1 + num_rows

    def _write(self, parts: Parts, num_rows: int) -> None:
        write_whole(parts.output, lambda file: _write_csv(file, map(self.fill, parts.rows())), _side(parts))


class JsonLinesFile(_FileWithJob):
    """Rows as JSON, an object a line."""

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        """Return whether all lines are there."""
        with open(path, "rb") as file:
            lines = [line.endswith(b"}\n") for line in file]
        return len(lines) == num_rows and all(lines)

    def _write(self, parts: Parts, num_rows: int) -> None:
        def fill(file: Any) -> None:
            for rows in parts.rows():
                columns = self.fill(rows)
                for values in zip(*columns.values(), strict=True):
                    file.write(f"{json_text(dict(zip(columns, values, strict=True)))}\n".encode())

        write_whole(parts.output, fill, _side(parts))


class ArrayFile(_FileWithJob):
    """The values alone as ``.npy`` or ``.safetensors``.

    ``NAME.csv`` beside it has the columns.
    """

    def _is_whole(self, path: Path, num_rows: int) -> bool:
        """Return whether the array has its length and its table is there."""
        shape = (num_rows, *self.shape)
        size = len(self._header(path.suffix, shape)) + 4 * int(np.prod(shape))
        return path.stat().st_size == size and _beside(path, ".csv").exists()

    def _write(self, parts: Parts, num_rows: int) -> None:
        def fill(file: Any) -> None:
            file.write(self._header(parts.output.suffix, (num_rows, *self.shape)))
            for rows in parts.rows():
                file.write(rows.values.astype("<f4").tobytes())

        write_whole(parts.output, fill, _side(parts))
        table = _beside(parts.output, ".csv")
        write_whole(table, lambda file: _write_csv(file, map(self.fill, parts.rows())))

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


OUTPUTS: dict[str, type[Output]] = {
    ".parquet": ParquetFile,
    ".csv": CsvFile,
    ".jsonl": JsonLinesFile,
    ".npy": ArrayFile,
    ".safetensors": ArrayFile,
}


def _write_csv(file: Any, tables: Iterable[dict[str, Any]]) -> None:
    for number, columns in enumerate(tables):
        header = [] if number else [columns]
        text = csv_text([*header, *zip(*columns.values(), strict=True)])
        file.write(text.encode("utf-8", "surrogateescape"))


def _side(parts: Parts) -> Path:
    return side_name(parts.folder / "merged")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _foreign(path: Path) -> JobError:
    return JobError(f"{path}: exists and holds no scores or features of videozoo; give another --output.")
