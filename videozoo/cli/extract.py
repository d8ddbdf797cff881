"""``videozoo extract``: extracts features of a list of videos."""

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from videozoo.arguments import check_ranges
from videozoo.choices import FEATURE_FILES
from videozoo.cli.command import Command, flag
from videozoo.cli.console import print_status, show_log
from videozoo.cli.flags import AMP, DEVICE, INDEX_CACHE, MAX_FRAMES, MODEL, VIEWS_HELP
from videozoo.cli.jobs import JOB_FLAGS, answer_options, run_job

if TYPE_CHECKING:
    from videozoo.inference import JobResult


COMMAND = Command(
    help="write features of a list of videos",
    description="Write features of each video, one vector per clip or per frame, averaged over height and width. They "
    "are the input of the classifier, or the output of any layer. An interrupted run continues with the same command. "
    "Beside a .npy or .safetensors file, a table such as NAME.npy.csv names the video of each row.",
    epilog="Example: videozoo extract --model run/best --input list.txt --output features.npy --layer stage3",
    flags=(
        MODEL,
        flag(
            "--input",
            required=True,
            metavar="LIST",
            help="text file with one path per line, a folder of videos, or labeled videos as for finetune",
        ),
        flag("--output", required=True, metavar="FILE", help=f"file to write ({', '.join(FEATURE_FILES)})"),
        flag(
            "--layer",
            metavar="NAME",
            help="stage1, stage2, ... or the name of a module; default: the input of the classifier",
        ),
        flag(
            "--level",
            default="clip",
            choices=("clip", "frame"),
            help="a vector per clip (averaged over time) or per frame",
        ),
        flag("--views", default="1x1", metavar="CLIPSxCROPS", help=f"{VIEWS_HELP}; their features are averaged"),
        AMP,
        DEVICE,
        MAX_FRAMES,
        INDEX_CACHE,
        *JOB_FLAGS,
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
