"""A long list answered shard by shard: each file once, whenever a process is killed, into one file per shard."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videozoo.choices import SCORE_FILES

from .describe import describe_answers, describe_job, describe_network
from .errors import JobError
from .listing import Listing, Shard
from .output_parts import STAMP_LENGTH, Parts, Rows, fill_parts, parts_folder, stamp_file
from .outputs import OUTPUTS, Output
from .prediction import AnswersVideos, best_classes
from .same_job import check_same_job
from .shards import check_shard, check_suffix, shard_path


@dataclass(frozen=True)
class JobResult:
    """Result of a shard.

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
    """Answer each video of a shard once and write the answers as one file, Parquet, csv or jsonl by its ending.

    Video ``i`` of the list belongs to shard ``i % num_shards``. Answers are kept in ``OUTPUT.parts`` until all are
    there. Killed at any moment and called again, it goes on after the last ones kept, and answers videos again whose
    files changed since. A file that is finished stays as it is. Columns: index (place in the list), path, error (null
    where fine), note (what is odd about a video that was read, else null), classes and class_scores (the best
    ``topk``), scores (all of them, float32). A csv file has class_1, score_1, class_2, ... of the best ``topk``
    instead, a jsonl file predictions, a list of class, label and score. What they are of is in ``NAME.json`` beside
    them.

    Args:
        predictor: the model.
        listing: what `open_listing` gives.
        output: the file. With several shards each writes a file of its own, see `shard_path`.
        on_progress: called with the videos answered and the errors among them, this run's and earlier ones'.
    Raises:
        JobError: another ending. The output belongs to another run (list, model, settings, number of shards), or is
            finished and a video's file changed since. Another process is writing it, or the disk refused.
        MissingPackageError: a Parquet file, and pyarrow is not installed.
    """
    names = predictor.class_names

    def fill(rows: Rows) -> dict[str, Any]:
        best = best_classes(rows.values, topk)
        labels = [[names[label] for label in row] for row in best]
        scores = np.take_along_axis(rows.values, best, 1)
        columns: dict[str, Any] = rows.take("index", "path", "error", "note")
        if output.suffix == ".csv":
            for k in range(best.shape[1]):
                columns[f"class_{k + 1}"] = rows.where_read([row[k] for row in labels])
                columns[f"score_{k + 1}"] = rows.where_read([f"{score:.6f}" for score in scores[:, k]])
            return columns
        if output.suffix == ".jsonl":
            predictions = [
                [{"class": names[k], "label": int(k), "score": round(float(row[k]), 6)} for k in order]
                for row, order in zip(rows.values, best, strict=True)
            ]
            return {**columns, "predictions": rows.where_read(predictions)}
        return {
            **columns,
            "classes": rows.where_read(labels),
            "class_scores": rows.where_read(scores),
            "scores": rows.where_read(rows.values),
        }

    check_suffix(output, SCORE_FILES)
    job = describe_job(listing, num_shards, shard, **describe_answers(predictor), topk=topk)
    about = {**describe_network(predictor), "class_names": json.dumps(names, ensure_ascii=False)}
    rows = OUTPUTS[output.suffix](job, about, fill, _TYPES, (len(names),))
    return answer_list(predictor, listing, output, rows, num_shards=num_shards, shard=shard, on_progress=on_progress)


_TYPES: dict[str, Callable[[Any], Any]] = {
    "index": lambda pa: pa.int64(),
    "path": lambda pa: pa.string(),
    "error": lambda pa: pa.string(),
    "note": lambda pa: pa.string(),
    "classes": lambda pa: pa.list_(pa.string()),
    "class_scores": lambda pa: pa.list_(pa.float32()),
    "scores": lambda pa: pa.list_(pa.float32()),
}


def answer_list(
    predictor: AnswersVideos,
    listing: Listing,
    output: Path,
    kind: Output,
    *,
    num_shards: int,
    shard: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Predict a list as `predict_list` does, for any kind of output.

    Raises:
        JobError: as there.
    """
    check_shard(output, num_shards, shard)
    path = shard_path(output, num_shards, shard)
    records = Shard(listing, num_shards, shard)
    if found := _find(kind, path, records):
        return found
    with closing(Parts(path, kind.job)) as parts:
        if found := _find(kind, path, records):  # another process finished it a moment ago
            return found
        size = int(np.prod(kind.shape))
        start, num_errors = fill_parts(parts, records, predictor.stream_batches, size, on_progress)
        kind.write(parts, len(records), num_errors)
        parts.remove()
        return JobResult(path, len(records), num_errors, start)


def _find(kind: Output, path: Path, records: Shard) -> JobResult | None:
    """Return the result of a finished output, if it is of the same job and of the same files."""
    found = kind.find(path)
    if found is None:
        return None
    check_same_job(found.job, kind.job, path)
    _check_files(found.stamps, path, records)
    # A process that was killed right after the file was finished left its parts.
    shutil.rmtree(parts_folder(path), ignore_errors=True)
    return JobResult(path, found.num_videos, found.num_errors, found.num_videos)


def _check_files(stamps: str, path: Path, records: Shard) -> None:
    """Refuse an output whose videos changed since it was made.

    Raises:
        JobError: names the first of them.
    """
    before = [stamps[k : k + STAMP_LENGTH] for k in range(0, len(stamps), STAMP_LENGTH)]
    changed = [k for k, stamp in enumerate(before) if stamp != stamp_file(records[k])]
    if changed:
        named = ", ".join(str(records[k].path) for k in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise JobError(
            f"{path}: is finished, but files changed since ({named}{more}); remove it to answer the list again, or "
            "give another --output."
        )
