"""``videozoo extract``: extracts features of a list of videos."""

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from videozoo.arguments import check_ranges
from videozoo.choices import FEATURE_FILES
from videozoo.cli.command import Command, flag
from videozoo.cli.console import print_status, show_log
from videozoo.cli.flags import AMP, DEVICE, INDEX_CACHE, MAX_FRAMES, MODEL
from videozoo.cli.jobs import LIST_FLAGS, answer_options, run_job

if TYPE_CHECKING:
    from videozoo.inference import JobResult


COMMAND = Command(
    help="features of a list of videos",
    description="Writes a model's features of each video, of the clip or of each frame, from what the classifier "
    "takes or from any layer, averaged over height and width. Killed at any moment, the same command goes on where "
    "it was. A .npy or .safetensors file has a table beside it, NAME.npy.csv, with the video of each row.",
    epilog="Example: videozoo extract --model run/best --input list.txt --output features.npy --layer stage3",
    flags=(
        MODEL,
        flag(
            "--input",
            required=True,
            metavar="LIST",
            help="text file with one path a line, or labeled videos as for finetune",
        ),
        flag("--output", required=True, metavar="FILE", help=f"its name ends in {', '.join(FEATURE_FILES)}"),
        flag(
            "--layer",
            metavar="NAME",
            help="stage1, stage2, ... or any module's name; default: what the classifier takes",
        ),
        flag("--level", default="clip", choices=("clip", "frame"), help="clip averages over time"),
        flag("--views", default="1x1", metavar="CLIPSxCROPS", help="views whose features are averaged"),
        AMP,
        DEVICE,
        MAX_FRAMES,
        INDEX_CACHE,
        *LIST_FLAGS,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Extract a list into a file."""
    check_ranges("extract", vars(args))

    def open_work() -> "Callable[..., JobResult]":
        from videozoo.devices import describe_device
        from videozoo.inference import Extractor, extract_list

        show_log()
        extractor = Extractor(args.model, layer=args.layer, level=args.level, **answer_options(args))
        print_status(describe_device(extractor.device, extractor.amp))
        return functools.partial(extract_list, extractor)

    return run_job("extract", args, FEATURE_FILES, open_work)
