"""``videozoo check-data``: decodes every file of a data set and reports problems."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli.command import Command, flag
from videozoo.cli.console import CommandError, print_result, print_status, show_log
from videozoo.cli.flags import SOURCE_FLAGS, WORK_FLAGS
from videozoo.cli.jobs import job_bar
from videozoo.jobs.output_folders import refuse_inside_data

if TYPE_CHECKING:
    from collections.abc import Iterable

    from videozoo.data import VideoSource
    from videozoo.jobs.check import Finding


COMMAND = Command(
    help="decode every file of a data set and report problems",
    description="Decode all frames of every video, several files in parallel. Write report.csv (frames, fps, size, "
    "seconds, error), classes.csv (videos per class) and clean.csv (the list without broken videos). Print the videos "
    "per class, uneven classes, and a cheaper frame size. A list of paths without labels is enough. An interrupted run "
    "continues with the same command; remove DIR to check everything again. The exit status is 1 if a file is broken.",
    epilog="Example: videozoo check-data --data train.csv --output check -j 8",
    flags=(
        *SOURCE_FLAGS,
        flag("--output", required=True, metavar="DIR", help="folder for the report and the cleaned list"),
        *WORK_FLAGS,
    ),
)


def check_work_flags(args: argparse.Namespace, command: str) -> None:
    """Refuse numbers out of range.

    Raises:
        CommandError: which.
    """
    if args.workers < 1:
        raise CommandError(f"{command}: --workers is {args.workers}; it must be at least 1.")
    if not args.time_limit > 0:
        raise CommandError(f"{command}: --time-limit is {args.time_limit:g}; it must be above 0.")


def load_listed(args: argparse.Namespace, *, needs_labels: bool = True) -> "dict[str, VideoSource]":
    """Return the videos that ``SOURCE_FLAGS`` name.

    A file that is not there is one of the things to find.

    Returns:
        a source by the name of its part: of a folder with train/ and val/ (and test/) each, else one without a name.
    """
    from videozoo.data import load_source
    from videozoo.training.sources import find_parts

    where = {"data_root": args.data_root, "data_format": args.data_format, "split": args.split}
    where |= {"check_files": False, "needs_labels": needs_labels, "multi_label": args.multi_label}
    where["names_file"] = args.class_names
    folders: dict[str, str | Path] = {folder.name: folder for folder in find_parts(args.data)}
    sources: dict[str, VideoSource] = {}
    is_open = args.class_names is None and args.data_format in (None, "class_folders")
    class_names = _folder_names(folders.values()) if is_open else None
    for part, data in (folders or {"": args.data}).items():
        source = load_source(data, class_names=class_names, **where)
        class_names = source.class_names or None
        sources[part] = source
        for text in source.warnings:
            print_status(f"warning: {text}")
    return sources


def _folder_names(parts: "Iterable[str | Path]") -> tuple[str, ...] | None:
    """Return the classes of all parts that are class folders. A part without one of them is reported."""
    from videozoo.data import load_source
    from videozoo.video.image_folder import natural_key

    sources = [load_source(part, check_files=False, needs_labels=False) for part in parts]
    if not sources or any(source.data_format != "class_folders" for source in sources):
        return None
    names = {name for source in sources for name in source.class_names}
    return tuple(sorted(names, key=lambda name: (natural_key(name), name)))


def run(args: argparse.Namespace) -> int:
    """Check the videos and print a report."""
    from videozoo.data import check_splits
    from videozoo.jobs.check import count_classes
    from videozoo.jobs.check_classes import cheaper_size, class_table, warn_classes

    check_work_flags(args, "check-data")
    refuse_inside_data(Path(args.output), args.data)
    show_log()
    sources = load_listed(args, needs_labels=False)
    findings = {part: _check(args, source, Path(args.output, part), part) for part, source in sources.items()}
    counts = {part: count_classes(source, findings[part]) for part, source in sources.items()}
    first = next(iter(sources))
    for line in class_table(counts):
        print_result(line)
    for text in cheaper_size(findings[first]):
        print_result(f"{'cheaper':<9}{text}")
    for text in warn_classes(counts[first]):
        print_status(f"warning: {text}")
    for part, source in sources.items():
        for text in check_splits(sources[first], source) if part != first else ():
            print_status(f"warning: {text}")
    every = [finding for own in findings.values() for finding in own]
    return 1 if not every or any(finding.error for finding in every) else 0


def _check(args: argparse.Namespace, source: "VideoSource", folder: Path, part: str) -> "list[Finding]":
    from videozoo.jobs.check import check_source, summary

    if part:
        print_result(f"{'part':<9}{part}")
    with job_bar(len(source.records), folder) as show:
        findings = check_source(source, folder, workers=args.workers, limit_sec=args.time_limit, on_progress=show)
    for name, value in summary(findings):
        print_result(f"{name:<9}{value}")
    written = [name for name in ("report.csv", "classes.csv", "clean.csv") if (folder / name).exists()]
    print_result(f"{'written':<9}{', '.join(written)} in {folder}")
    if any(finding.error for finding in findings) and "clean.csv" not in written:
        print_status(
            "members of shards cannot be left out by a list; prepare --shards writes shards without the broken ones"
        )
    return findings
