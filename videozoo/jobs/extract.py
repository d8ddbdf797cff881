"""Features of the videos of a list, written as one file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from videozoo.choices import FEATURE_FILES

from .describe import describe_answers, describe_job, describe_network
from .listing import Listing
from .output_parts import Rows
from .outputs import OUTPUTS
from .predict import JobResult, answer_list
from .prediction import GivesFeatures
from .shards import check_suffix


def extract_list(
    extractor: GivesFeatures,
    listing: Listing,
    output: Path,
    *,
    num_shards: int = 1,
    shard: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> JobResult:
    """Write the features of each video of a shard, as `predict_list` writes scores: resumable, each video once.

    A Parquet file has a row per video: index (place in the list), path, label (null where the list has none), error
    (null where fine) and features (float32, flat). A ``.npy`` or ``.safetensors`` file (tensor ``features``) holds the
    features alone, float32 (N, F) or (N, T', F), with NaN where a video could not be read. The other columns are in
    ``NAME.csv`` beside it, row by row, and what the rows are of in ``NAME.json``. NAME is the file's whole name.

    Args:
        extractor: the model.
        listing: what `open_listing` gives.
        output: the file. Its ending says which of the three.
        on_progress: as in `predict_list`.
    Raises:
        JobError: another ending, or what `predict_list` says.
        MissingPackageError: a Parquet file, and pyarrow is not installed.
    """
    check_suffix(output, FEATURE_FILES)
    shape = extractor.feature_shape
    size = int(np.prod(shape))
    details = {"layer": extractor.layer, "level": extractor.level, "feature_shape": list(shape)}
    job = describe_job(listing, num_shards, shard, **describe_answers(extractor), **details)
    about = {**describe_network(extractor), "feature_shape": json.dumps(list(shape))}

    def fill(rows: Rows) -> dict[str, Any]:
        columns: dict[str, Any] = rows.take("index", "path", "label", "error")
        return {**columns, "features": rows.where_read(rows.values)} if output.suffix == ".parquet" else columns

    types = {**_TYPES, "features": lambda pa: pa.list_(pa.float32(), size)}
    rows = OUTPUTS[output.suffix](job, about, fill, types, shape)
    return answer_list(extractor, listing, output, rows, num_shards=num_shards, shard=shard, on_progress=on_progress)


_TYPES: dict[str, Callable[[Any], Any]] = {
    "index": lambda pa: pa.int64(),
    "path": lambda pa: pa.string(),
    "label": lambda pa: pa.int64(),
    "error": lambda pa: pa.string(),
}
