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

import torch
from torch import nn

from videozoo.data import VideoRecord
from videozoo.version import __version__

from .listing import Listing
from .parts import JobError, Parts, check_same_job, parts_folder, scores_schema, scores_table
from .predictor import Prediction, Predictor

__all__ = ["JobError", "JobResult", "JobWriting", "answer_list", "predict_list", "shard_path"]

JOB_FORMAT = 1
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
    predictor: Predictor,
    listing: Listing,
    output: Path,
    *,
    num_shards: int = 1,
    shard: int = 0,
    topk: int = 5,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Answer each video of a shard once and write the answers as one Parquet file.

    Video ``i`` of the list belongs to shard ``i % num_shards``. Answers are kept in ``OUTPUT.parts`` until all are
    there; killed at any moment and called again, it goes on after the last ones kept. A file that is finished stays as
    it is. Columns: index (place in the list), path, error (null where fine), classes and class_scores (the best
    ``topk``), scores (all of them, float32).

    Args:
        predictor: the network.
        listing: what `open_listing` gives.
        output: the file; with several shards each writes a file of its own, see `shard_path`.
        on_progress: called with the videos answered and the errors among them, this run's and earlier ones'.
    Raises:
        JobError: the output belongs to another run (list, network, settings, number of shards), another process is
            writing it, pyarrow is missing, or the disk refused.
    """
    check_shard(num_shards, shard)
    job = {**describe_job(predictor, listing, num_shards, shard), "topk": topk}
    about = {
        **describe_network(predictor),
        "class_names": json.dumps(predictor.class_names, ensure_ascii=False),
        "job": json.dumps(job),
    }

    def make_table(schema: Any, indices: Sequence[int], answers: list[Prediction]) -> Any:
        return scores_table(schema, indices, answers, predictor.class_names, topk)

    writing = JobWriting(job, scores_schema(about), make_table)
    return answer_list(predictor, listing, output, writing, num_shards=num_shards, shard=shard, on_progress=on_progress)


@dataclass(frozen=True)
class JobWriting:
    """How the answers of a job become files.

    Args:
        job: all that the rows depend on; it is in the schema's metadata too, under ``job``.
        schema: of the rows.
        make_table: rows of the schema from places in the list and answers.
        merge: makes the output of the parts and gives the number of rows with an error.
        mark: the Parquet file with the column ``error`` that is written last. It may belong to several outputs of one
            job; those that are finished are then named in its metadata, under ``outputs``.
    """

    job: dict[str, Any]
    schema: Any
    make_table: Callable[[Any, Sequence[int], list[Prediction]], Any]
    merge: Callable[[Parts, Any], int] = Parts.merge
    mark: Callable[[Path], Path] = lambda output: output


def answer_list(
    predictor: Predictor,
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
    mark = writing.mark(path)
    records = _Shard(listing, num_shards, shard)
    _refuse_other_shards(output, num_shards)
    finished = _finished(path, mark, writing.job)
    if finished is not None:
        return finished
    with closing(Parts(path, writing.job)) as parts:
        finished = _finished(path, mark, writing.job)  # another process may have done it a moment ago
        if finished is not None:
            return finished
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
                parts.add(done, writing.make_table(writing.schema, indices, waiting))
                done, waiting, written = done + len(waiting), [], time.monotonic()
            if on_progress is not None:
                on_progress(done + len(waiting), num_errors)
        return JobResult(path, len(records), writing.merge(parts, writing.schema), start)


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


def describe_network(predictor: Predictor) -> dict[str, str]:
    """What a file says of where its rows come from."""
    source = predictor.source
    return {"model": source if isinstance(source, str) else type(source).__name__, "videozoo_version": __version__}


def describe_job(predictor: Predictor, listing: Listing, num_shards: int, shard: int) -> dict[str, Any]:
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


def finished_outputs(mark: Path) -> set[str]:
    """Return the names of the outputs beside a mark that are finished."""
    import pyarrow.parquet as pq

    if not mark.exists():
        return set()
    metadata = pq.read_schema(mark).metadata or {}
    names = (
        json.loads(metadata[b"outputs"]) if b"outputs" in metadata else [path.name for path in mark.parent.iterdir()]
    )
    return {name for name in names if (mark.parent / name).exists()}


def _finished(path: Path, mark: Path, job: dict[str, Any]) -> JobResult | None:
    """Return what a finished file says of itself, None if it is not finished; ``mark`` as in `JobWriting`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not mark.exists():
        return None
    try:
        file = pq.ParquetFile(mark)
        found = json.loads((file.schema_arrow.metadata or {})[b"job"])
    except (pa.ArrowException, KeyError, ValueError):
        raise JobError(f"{mark}: exists and holds no scores or features of videozoo; give another --output.") from None
    with file:
        check_same_job(found, job, mark)
        if path.name not in finished_outputs(mark):
            return None
        num_errors = 0
        for group in file.iter_batches(columns=["error"]):
            num_errors += len(group) - group.column(0).null_count
        # A process that was killed right after the file was finished left its parts.
        shutil.rmtree(parts_folder(path), ignore_errors=True)
        return JobResult(path, file.metadata.num_rows, num_errors, file.metadata.num_rows)


def _refuse_other_shards(output: Path, num_shards: int) -> None:
    """Files of another number of shards beside these would be read together with them, each video twice."""
    pattern = re.compile(rf"{re.escape(output.stem)}-[0-9]{{5}}-of-([0-9]{{5}}){re.escape(output.suffix)}(\.parts)?")
    if not output.parent.is_dir():
        return
    for entry in output.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match is not None and int(match[1]) != num_shards:
            raise JobError(f"{entry}: is of {int(match[1])} shards, now it is {num_shards}; give another --output.")
