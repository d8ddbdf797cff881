"""Files of results: how their names end, and the one of each of several processes or machines."""

import re
from pathlib import Path

from .errors import JobError


def check_suffix(output: Path, suffixes: tuple[str, ...]) -> None:
    """Raise JobError where a file's name ends in none of these."""
    if output.suffix not in suffixes:
        raise JobError(f"{output}: its name must end in {' or '.join(suffixes)}.")


def check_shard(output: Path, num_shards: int, shard: int) -> None:
    """Refuse a shard that does not exist, or an output that has files of another number of shards.

    These would be read together with the new ones, each video twice.

    Raises:
        JobError: says which.
    """
    if num_shards < 1 or not 0 <= shard < num_shards:
        raise JobError(
            f"shard {shard} of {num_shards} does not exist (--shard is {shard}); they count from 0 to {num_shards - 1}."
        )
    pattern = re.compile(rf"{re.escape(output.stem)}-[0-9]{{5}}-of-([0-9]{{5}}){re.escape(output.suffix)}(\.parts)?")
    for entry in output.parent.iterdir() if output.parent.is_dir() else ():
        match = pattern.fullmatch(entry.name)
        if match is not None and int(match[1]) != num_shards:
            raise JobError(
                f"{entry}: is of {int(match[1])} shards, now it is {num_shards}; remove it, or give another --output."
            )


def shard_path(output: Path, num_shards: int, shard: int) -> Path:
    """Return the file of a shard: the output itself if it is the only one, else ``scores-00000-of-00004.parquet``."""
    if num_shards == 1:
        return output
    return output.with_name(f"{output.stem}-{shard:05d}-of-{num_shards:05d}{output.suffix}")
