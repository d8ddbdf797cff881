"""A long list answered shard by shard: each file once, whenever a process is killed, into one file per shard."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from videozoo.data import VideoRecord
from videozoo.version import __version__

from .listing import Listing
from .outputs import ArrayFile, CsvFile, Finished, ParquetFile
from .parts import JobError, Parts, Rows, check_same_job, parts_folder
from .prediction import AnswersVideos, Prediction

__all__ = ["JobError", "JobResult", "JobWriting", "answer_list", "predict_list", "shard_path"]

JOB_FORMAT = 2
# Rows wait in memory at most so long, and so many of them, before they are safe on disk.
PART_SECONDS = 30.0
PART_ROWS = 4096


@dataclass(frozen=True)
class JobResult:
    """What became of a shard.

    Args:
        path: its file of scores.
        num_videos: videos of the shard, those with an error too.
        num_errors: videos that could not be read.
        num_done_before: videos that an earlier run had answered already.
    """

    path: Path
    num_videos: int
    num_errors: int
    num_done_before: int


def predict_list(
    predictor: AnswersVideos,
    listing: Listing,
    output: Path,
    *,
    num_shards: int = 1,
    shard: int = 0,
    topk: int = 5,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Answer each video of a shard once and write the answers as one file, Parquet or csv by its ending.

    Video ``i`` of the list belongs to shard ``i % num_shards``. Answers are kept in ``OUTPUT.parts`` until all are
    there; killed at any moment and called again, it goes on after the last ones kept. A file that is finished stays as
    it is. Columns: index (place in the list), path, error (null where fine), note (what is odd about a video that was
    read, else null), classes and class_scores (the best ``topk``), scores (all of them, float32). A csv file has
    class_1, score_1, class_2, ... of the best ``topk`` instead, and what it is of in ``NAME.json`` beside it.

    Args:
        predictor: the network.
        listing: what `open_listing` gives.
        output: the file; with several shards each writes a file of its own, see `shard_path`.
        on_progress: called with the videos answered and the errors among them, this run's and earlier ones'.
    Raises:
        JobError: the output belongs to another run (list, network, settings, number of shards), another process is
            writing it, or the disk refused.
        MissingPackageError: a Parquet file, and pyarrow is not installed.
    """
    check_shard(num_shards, shard)
    job = {**describe_job(predictor, listing, num_shards, shard), "topk": topk}
    about = {
        **describe_network(predictor),
        "class_names": json.dumps(predictor.class_names, ensure_ascii=False),
    }

    def make_rows(indices: Sequence[int], answers: list[Prediction]) -> Rows:
        rows = rows_of(indices, answers, len(predictor.class_names))
        rows.columns["note"] = [answer.note for answer in answers]
        return rows

    def fill(rows: Rows) -> dict[str, Any]:
        best = np.argsort(-rows.values, axis=1, kind="stable")[:, :topk]
        names = [[predictor.class_names[label] for label in row] for row in best]
        scores = np.take_along_axis(rows.values, best, 1)
        columns = dict(rows.columns)
        if output.suffix == ".csv":
            for k in range(best.shape[1]):
                columns[f"class_{k + 1}"] = rows.where_read([row[k] for row in names])
                columns[f"score_{k + 1}"] = rows.where_read([f"{score:.6f}" for score in scores[:, k]])
            return columns
        return {
            **columns,
            "classes": rows.where_read(names),
            "class_scores": rows.where_read(scores),
            "scores": rows.where_read(rows.values),
        }

    kind: ParquetFile | CsvFile
    if output.suffix == ".csv":
        kind = CsvFile(about, job, fill)
    else:
        kind = ParquetFile(_SCORE_COLUMNS, {**about, "job": json.dumps(job)}, fill)
    writing = JobWriting(job, make_rows, kind)
    return answer_list(predictor, listing, output, writing, num_shards=num_shards, shard=shard, on_progress=on_progress)


_SCORE_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "index": lambda pa: pa.int64(),
    "path": lambda pa: pa.string(),
    "error": lambda pa: pa.string(),
    "note": lambda pa: pa.string(),
    "classes": lambda pa: pa.list_(pa.string()),
    "class_scores": lambda pa: pa.list_(pa.float32()),
    "scores": lambda pa: pa.list_(pa.float32()),
}


def rows_of(indices: Sequence[int], answers: Sequence[Prediction], size: int) -> Rows:
    """Return the rows of some answers, each with ``size`` values; file names that are no UTF-8 are escaped."""
    values = np.full((len(answers), size), np.nan, np.float32)
    for row, answer in zip(values, answers, strict=True):
        if answer.scores is not None:
            row[:] = answer.scores.ravel()
    columns: dict[str, list[Any]] = {
        "index": list(indices),
        "path": [_as_utf8(answer.path) for answer in answers],
        "error": [None if answer.error is None else _as_utf8(answer.error) for answer in answers],
    }
    return Rows(columns, values)


def _as_utf8(text: str) -> str:
    # Neither JSON nor Parquet holds the bytes of a file name that is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class JobWriting:
    """How the answers of a job become files.

    Args:
        job: all that the rows depend on.
        make_rows: rows of places in the list and answers.
        output: what the rows become.
    """

    job: dict[str, Any]
    make_rows: Callable[[Sequence[int], list[Prediction]], Rows]
    output: ParquetFile | CsvFile | ArrayFile


def answer_list(
    predictor: AnswersVideos,
    listing: Listing,
    output: Path,
    writing: JobWriting,
    *,
    num_shards: int,
    shard: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """What `predict_list` does, for any rows.

    Raises:
        JobError: as there.
    """
    path = shard_path(output, num_shards, shard)
    records = _Shard(listing, num_shards, shard)
    _refuse_other_shards(output, num_shards)
    if found := writing.output.find(path):
        return _finished(path, found, writing.job)
    with closing(Parts(path, writing.job)) as parts:
        if found := writing.output.find(path):  # another process finished it a moment ago
            return _finished(path, found, writing.job)
        start = done = parts.num_rows()
        num_errors, waiting, written = 0, [], time.monotonic()
        if on_progress is not None:
            on_progress(done, num_errors)
        for answers in predictor.stream_batches(records, start):
            waiting += answers
            num_errors += sum(answer.error is not None for answer in answers)
            is_last = done + len(waiting) == len(records)
            if is_last or len(waiting) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                indices = records.places(done, len(waiting))
                parts.add(done, writing.make_rows(indices, waiting))
                done, waiting, written = done + len(waiting), [], time.monotonic()
            if on_progress is not None:
                on_progress(done + len(waiting), num_errors)
        num_errors = writing.output.write(parts)
        parts.remove()
        return JobResult(path, len(records), num_errors, start)


def check_shard(num_shards: int, shard: int) -> None:
    """Raise JobError where there is no such shard."""
    if num_shards < 1 or not 0 <= shard < num_shards:
        raise JobError(f"shard {shard} of {num_shards} does not exist; shards count from 0 to {num_shards - 1}.")


def shard_path(output: Path, num_shards: int, shard: int) -> Path:
    """The file of a shard: the output itself if it is the only one, else ``scores-00000-of-00004.parquet``."""
    if num_shards == 1:
        return output
    return output.with_name(f"{output.stem}-{shard:05d}-of-{num_shards:05d}{output.suffix}")


class _Shard(Sequence[VideoRecord]):
    """Every ``num_shards``-th record."""

    def __init__(self, listing: Listing, num_shards: int, shard: int) -> None:
        self.listing = listing
        self._indices = range(shard, len(listing), num_shards)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> VideoRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[VideoRecord]: ...
    def __getitem__(self, index: int | slice) -> VideoRecord | Sequence[VideoRecord]:
        if isinstance(index, slice):
            return [self.listing[i] for i in self._indices[index]]
        return self.listing[self._indices[index]]

    def places(self, first: int, count: int) -> Sequence[int]:
        """Places in the whole list."""
        return self._indices[first : first + count]


def describe_network(predictor: AnswersVideos) -> dict[str, str]:
    """What a file says of where its rows come from."""
    source = predictor.source
    return {"model": source if isinstance(source, str) else type(source).__name__, "videozoo_version": __version__}


def describe_job(predictor: AnswersVideos, listing: Listing, num_shards: int, shard: int) -> dict[str, Any]:
    """What rows of any kind depend on."""
    job = {
        "format": JOB_FORMAT,
        "list": listing.digest,
        "num_shards": num_shards,
        "shard": shard,
        "weights": digest_weights(predictor.model),
        "class_names": list(predictor.class_names),
        "videos": predictor.config,
        "amp": predictor.amp,
    }
    plain: dict[str, Any] = json.loads(json.dumps(job))
    return plain


def digest_weights(model: nn.Module) -> str:
    """SHA-256 over names, shapes, kinds and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(flat.shape)} {flat.dtype}\n".encode())
        digest.update(flat.flatten().view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()


def _finished(path: Path, found: Finished, job: dict[str, Any]) -> JobResult:
    """Return the result of a finished output, if it is of the same job."""
    check_same_job(found.job, job, path)
    # A process that was killed right after the file was finished left its parts.
    shutil.rmtree(parts_folder(path), ignore_errors=True)
    return JobResult(path, found.num_videos, found.num_errors, found.num_videos)


def _refuse_other_shards(output: Path, num_shards: int) -> None:
    """Files of another number of shards beside these would be read together with them, each video twice."""
    pattern = re.compile(rf"{re.escape(output.stem)}-[0-9]{{5}}-of-([0-9]{{5}}){re.escape(output.suffix)}(\.parts)?")
    if not output.parent.is_dir():
        return
    for entry in output.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match is not None and int(match[1]) != num_shards:
            raise JobError(f"{entry}: is of {int(match[1])} shards, now it is {num_shards}; give another --output.")
