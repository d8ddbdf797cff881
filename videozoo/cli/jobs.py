"""Shared code of the commands over long lists: flags, the shard, the run with its progress bar and last line."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.command import flag
from videozoo.cli.console import CommandError, Interrupted, print_result, print_status, progress_bar
from videozoo.cli.flags import LIST_FLAGS
from videozoo.extras import check_installed
from videozoo.jobs.output_folders import refuse_inside_data
from videozoo.jobs.shards import check_shard, check_suffix
from videozoo.launch import num_processes, rank
from videozoo.training.sizes import parse_views

if TYPE_CHECKING:
    from videozoo.inference import JobResult, Listing

BATCH_SIZE, WORKERS = 8, 2


# Without ``--input`` and ``--output``, which are the command's own. Where one is not given `run_job` has its default.
JOB_FLAGS = (
    *LIST_FLAGS,
    flag("--num-shards", type=int, metavar="N", help="shards of the list; default: the processes of torchrun"),
    flag("--shard", type=int, metavar="K", help="shard to process, from 0; default: the rank of torchrun"),
    flag("-b", "--batch-size", type=int, metavar="N", help=f"videos per batch; default: {BATCH_SIZE}"),
    flag("-j", "--workers", type=int, metavar="N", help=f"decoding processes; default: {WORKERS}"),
)


def check_job(command: str, args: argparse.Namespace, suffixes: tuple[str, ...]) -> tuple[Path, int, int]:
    """Return output, number of shards and shard.

    Raises:
        CommandError, JobError: one of them is missing or wrong.
        MissingPackageError: the package that writes it is not installed.
    """
    if not args.output:
        raise CommandError(f"{command}: --input needs --output FILE.")
    output = Path(args.output)
    check_suffix(output, suffixes)
    if output.is_dir():
        raise CommandError(f"{output}: is a folder; --output needs a file.")
    if output.suffix == ".parquet":
        check_installed(f"--output {args.output}", "pyarrow")
    if (args.num_shards is None) != (args.shard is None):
        raise CommandError(f"{command}: give --num-shards and --shard both, or none of them.")
    num_shards, shard = args.num_shards, args.shard
    if num_shards is None:
        num_shards, shard = num_processes(), rank()
    check_shard(output, num_shards, shard)
    return output, num_shards, shard


def answer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a `Predictor` from the flags."""
    return {
        "device": args.device,
        "views": parse_views(args.views),
        "amp": "bf16" if args.amp else "no",
        "batch_size": args.batch_size,
        "workers": args.workers,
    }


@contextlib.contextmanager
def job_bar(total: int, kept: Path | None, title: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a job, see `progress_bar`.

    After an interruption, the folder with the finished work is printed.
    """
    try:
        with progress_bar(total, title) as show:
            yield show
    except KeyboardInterrupt as stop:
        if kept is None:
            raise
        raise Interrupted(f"finished work is kept in {kept}; run the same command to continue", stop) from stop


def run_job(
    command: str,
    args: argparse.Namespace,
    suffixes: tuple[str, ...],
    open_work: "Callable[[], Callable[..., JobResult]]",
    listing: "Listing | None" = None,
) -> int:
    """Process the list that the flags name, and return the exit status.

    Args:
        open_work: loads the model and returns a function of the listing, the output, ``num_shards``, ``shard`` and
            ``on_progress``.
        listing: the videos, where ``--input`` does not name them.
    """
    output, num_shards, shard = check_job(command, args, suffixes)
    refuse_inside_data(output, args.input, "--input")
    args.batch_size = BATCH_SIZE if args.batch_size is None else args.batch_size
    args.workers = WORKERS if args.workers is None else args.workers
    from videozoo.inference import open_listing

    if listing is None:
        listing = open_listing(args.input, data_root=args.data_root, data_format=args.data_format, split=args.split)
    for text in listing.warnings:
        print_status(f"warning: {text}")
    if listing.num_repeats:
        print_status(f"{args.input}: {listing.num_repeats} paths are repeated; each file is processed once")
    work = open_work()
    total = len(range(shard, len(listing), num_shards))
    with job_bar(total, output.parent, f"shard {shard} of {num_shards}") as show:
        result = work(listing, output, num_shards=num_shards, shard=shard, on_progress=show)
    before = f", {result.num_done_before} of them earlier" if result.num_done_before else ""
    print_result(
        f"{result.path}: {result.num_videos} videos{before}, {result.num_errors} could not be read", by_all=True
    )
    # torchrun ends all processes when one of them ends with another status.
    is_started_by_torchrun = args.shard is None and num_shards > 1
    return 1 if result.num_errors and not is_started_by_torchrun else 0
