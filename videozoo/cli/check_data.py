"""``videozoo check-data``: decodes every file of a data set and tells what is wrong."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, note, say, show_log
from videozoo.cli.flags import SOURCE_FLAGS, WORK_FLAGS
from videozoo.cli.jobs import job_bar
from videozoo.jobs.output_folders import refuse_inside_data

if TYPE_CHECKING:
    from videozoo.data import VideoSource


COMMAND = Command(
    help="decode every file of a data set and tell what is wrong",
    description="Decodes every video from its first frame to its last, several at a time, and writes a report "
    "(report.csv: frames, fps, size, seconds, error) and a list of those that can be read, with the same classes "
    "(clean.csv). Killed and run again, it goes on where it was; remove DIR to check everything anew. The exit "
    "status is 1 if some are broken.",
    epilog="Example: videozoo check-data --data train.csv --output check -j 8",
    flags=(
        *SOURCE_FLAGS,
        flag("--output", required=True, metavar="DIR", help="folder for the report and the cleaned list"),
        *WORK_FLAGS,
    ),
)


def check_work_flags(args: argparse.Namespace, command: str) -> None:
    """Refuse numbers that make no sense.

    Raises:
        CommandError: which.
    """
    if args.workers < 1:
        raise CommandError(f"{command}: --workers is {args.workers}; it must be at least 1.")
    if not args.time_limit > 0:
        raise CommandError(f"{command}: --time-limit is {args.time_limit:g}; it must be above 0.")


def load_listed(args: argparse.Namespace, *, needs_labels: bool = True) -> "dict[str, VideoSource]":
    """The videos that ``SOURCE_FLAGS`` name; a file that is not there is one of the things to find.

    Returns:
        a source by the name of its part: of a folder with train/ and val/ (and test/) each, else one without a name.
    """
    from videozoo.data import load_source
    from videozoo.training.sources import find_parts

    where = {"data_root": args.data_root, "data_format": args.data_format, "split": args.split}
    where |= {"check_files": False, "needs_labels": needs_labels}
    sources: dict[str, VideoSource] = {}
    class_names = None
    parts: dict[str, str | Path] = {folder.name: folder for folder in find_parts(args.data)}
    for part, data in (parts or {"": args.data}).items():
        source = load_source(data, class_names=class_names, **where)
        class_names = source.class_names or None
        sources[part] = source
        for text in source.warnings:
            note(f"warning: {text}")
    return sources


def run(args: argparse.Namespace) -> int:
    """Check, then tell what was found."""
    check_work_flags(args, "check-data")
    refuse_inside_data(Path(args.output), args.data)
    show_log()
    statuses = [
        _check(args, source, Path(args.output, part), part)
        for part, source in load_listed(args, needs_labels=False).items()
    ]
    return max(statuses)


def _check(args: argparse.Namespace, source: "VideoSource", folder: Path, part: str) -> int:
    from videozoo.jobs.check import check_source, summary

    if part:
        say(f"{'part':<9}{part}")
    with job_bar(len(source.records), folder) as show:
        findings = check_source(source, folder, workers=args.workers, limit_sec=args.time_limit, on_progress=show)
    for name, value in summary(findings):
        say(f"{name:<9}{value}")
    num_broken = sum(bool(finding.error) for finding in findings)
    is_list = (folder / "clean.csv").exists()
    say(f"{'written':<9}report.csv{' and clean.csv' * is_list} in {folder}")
    if num_broken and not is_list:
        note("members of shards cannot be left out by a list; prepare --shards writes shards without the broken ones")
    return 1 if num_broken else 0
