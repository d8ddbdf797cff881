"""``videozoo prepare``: re-encodes a data set so that it is small and fast to read."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.arguments import check_ranges
from videozoo.cli.check_data import check_work_flags, load_listed
from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, print_error, print_result, show_log
from videozoo.cli.flags import SOURCE_FLAGS, WORK_FLAGS
from videozoo.cli.jobs import job_bar
from videozoo.jobs.output_folders import refuse_inside_data
from videozoo.text import first_few

if TYPE_CHECKING:
    from videozoo.data import VideoSource

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


COMMAND = Command(
    help="re-encode a data set to small files or tar shards that are fast to read",
    description="Re-encode every video as H.264 without sound: short side scaled, upright, many keyframes, same "
    "timestamps. Listed parts of files are cut out. Write files with list.csv, or tar shards with --shards. "
    "Unreadable videos are reported and left out, and the exit status is 1. An interrupted run continues with the "
    "same command.",
    epilog="Example: videozoo prepare --data train.csv --output small --short-side 256 --gop 12 -j 8",
    flags=(
        *SOURCE_FLAGS,
        flag("--output", required=True, metavar="DIR", help="folder for the videos and their list"),
        flag(
            "--short-side",
            type=int,
            default=256,
            metavar="PIXELS",
            help="short side of the frames; smaller videos keep their size",
        ),
        flag("--gop", type=int, default=12, metavar="FRAMES", help="largest distance between keyframes"),
        flag("--shards", metavar="SIZE", help="write tar shards of about this size, such as 500MB"),
        *WORK_FLAGS,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Write the videos and print what was left out."""
    check_work_flags(args, "prepare")
    refuse_inside_data(Path(args.output), args.data)
    check_ranges("prepare", vars(args))
    shard_bytes = None if args.shards is None else _parse_size(args.shards)
    show_log()
    parts = load_listed(args).items()
    return max(_prepare(args, source, Path(args.output, part), shard_bytes) for part, source in parts)


def _prepare(args: argparse.Namespace, source: "VideoSource", folder: Path, shard_bytes: int | None) -> int:
    from videozoo.jobs.prepare import prepare_source

    with job_bar(len(source.records), folder) as show:
        prepared = prepare_source(
            source,
            folder,
            short_side=args.short_side,
            gop=args.gop,
            shard_bytes=shard_bytes,
            workers=args.workers,
            limit_sec=args.time_limit,
            on_progress=show,
        )
    broken = [f"{place}: {reason}" for place, reason in prepared.broken]
    for line in first_few(broken, rest=f"; prepared.jsonl in {folder} names them"):
        print_error(line)
    where = prepared.written[0] if prepared.written else folder
    if len(prepared.written) > 1:
        where = folder / f"{{{prepared.written[0].stem}..{prepared.written[-1].stem}}}.tar"
    print_result(f"{where}: {prepared.num_videos} videos, {len(prepared.broken)} left out")
    return 1 if prepared.broken else 0


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]B|)", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise CommandError(f"prepare: --shards is {text!r}; write a size such as 500MB or 1GB.")
    return size
