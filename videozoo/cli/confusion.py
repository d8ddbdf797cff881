"""``videozoo confusion``: draws confusion matrices of groups of classes from finished evaluations."""

import argparse
from pathlib import Path

from videozoo.cli.command import Command, flag
from videozoo.cli.console import print_result
from videozoo.jobs.output_folders import hold_output, refuse_file

COMMAND = Command(
    help="draw confusion matrices of several evaluations, whole or per group of classes",
    description="Draw the part of the confusion matrix of each group of classes, one panel per evaluation, and print "
    "the accuracy within the group. Without --groups draw the whole matrix of each evaluation. No video is decoded.",
    epilog="Example: videozoo confusion measured/tsm measured/arc --groups groups.yaml --output pictures",
    flags=(
        flag(
            "evaluations",
            nargs="+",
            metavar="RUN",
            help="folder that evaluate --output wrote, or its scores.safetensors",
        ),
        flag(
            "--groups",
            metavar="FILE",
            help="json or yaml file of group names with lists of classes; default: all classes",
        ),
        flag("--output", required=True, metavar="DIR", help="folder for a png and a csv per group"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Draw every group."""
    from videozoo.engine import load_groups
    from videozoo.explain import group_confusion, load_evaluation
    from videozoo.explain.confusion import evaluation_titles, write_confusions, write_matrices

    output = Path(args.output)
    refuse_file(output)
    scores = [load_evaluation(Path(path)) for path in args.evaluations]
    names = scores[0].result.class_names
    groups = load_groups(Path(args.groups), names) if args.groups else {"all classes": tuple(range(len(names)))}
    found = {name: group_confusion(scores, labels) for name, labels in groups.items()}
    titles = evaluation_titles(scores)
    with hold_output(output, "pictures"):
        if args.groups:
            written = write_confusions(output, titles, found)
        else:
            written = write_matrices(output, titles, found["all classes"])
    for name, parts in found.items():
        print_result(f"{name}: {parts[0].num_videos} videos of {len(parts[0].class_names)} classes")
        for title, part in zip(titles, parts, strict=True):
            within = f", within group {part.within:.1%}" if args.groups and part.within is not None else ""
            shares = "no videos" if part.top1 is None else f"right {part.top1:.1%}{within}"
            print_result(f"  {title:<30} {shares}")
    print_result(f"written: {', '.join(written)} in {output}")
    return 0
