"""Flags that several commands share."""

import argparse

from videozoo.arguments import UsageError, set_index_cache, set_max_frames
from videozoo.choices import is_onnx
from videozoo.cli.command import Flag, flag, switch
from videozoo.cli.console import CommandError
from videozoo.training.settings import (
    CLASS_NAMES_HELP,
    DATA_FORMAT_HELP,
    DATA_ROOT_HELP,
    DEVICE_HELP,
    INDEX_CACHE_HELP,
    MAX_FRAMES_HELP,
    SPLIT_HELP,
)

DEVICE = flag("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
AMP = switch("--amp", help="run in mixed precision (bfloat16)")


def model_flag(also: str = "") -> Flag:
    """Return the flag ``--model``, which is required.

    ``also`` says what else it may be.
    """
    names = ["a folder such as RUN/best", "hf-hub:ORG/NAME"]
    names += ["a name with weights", f"or {also}"] if also else ["or a name with weights"]
    return flag("--model", required=True, metavar="NAME", help=", ".join(names))


def _set_max_frames(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames above 0")
    set_max_frames(int(text))
    return int(text)


def _set_index_cache(text: str) -> str:
    try:
        set_index_cache(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--index-cache ").rstrip(".")) from error
    return text


MODEL = model_flag()
# These two reach the reader by the environment, in worker processes too.
MAX_FRAMES = flag(
    "--max-frames",
    type=_set_max_frames,
    default=argparse.SUPPRESS,
    metavar="N",
    help=MAX_FRAMES_HELP,
)
INDEX_CACHE = flag(
    "--index-cache",
    type=_set_index_cache,
    default=argparse.SUPPRESS,
    metavar="DIR",
    help=INDEX_CACHE_HELP,
)
CLASS_NAMES = flag("--class-names", metavar="FILE", help=CLASS_NAMES_HELP)
VIEWS_HELP = "clips x crops of each video, such as 1x1 or 10x3"
# How a list is read.
LIST_FLAGS = (
    flag("--data-root", metavar="DIR", help=DATA_ROOT_HELP),
    flag("--data-format", metavar="NAME", help=DATA_FORMAT_HELP),
    flag("--split", metavar="NAME", help=SPLIT_HELP),
)
# The flags that name labeled videos.
SOURCE_FLAGS = (
    flag("--data", required=True, metavar="DIR_OR_LIST", help="labeled videos, as for finetune"),
    *LIST_FLAGS,
    CLASS_NAMES,
    switch("--multi-label", help="videos may have several classes, or none, as for finetune"),
)
# The flags of work done by several processes.
WORK_FLAGS = (
    flag("-j", "--workers", type=int, default=2, metavar="N", help="files processed in parallel"),
    flag(
        "--time-limit",
        type=float,
        default=300.0,
        metavar="SEC",
        help="count a file as broken that takes more seconds of CPU time",
    ),
)


def refuse_onnx(model: str, why: str) -> None:
    """Refuse an ONNX file if a PyTorch model is needed.

    Raises:
        CommandError: names the file and ``why``.
    """
    if is_onnx(model):
        raise CommandError(f"--model {model}: an ONNX file {why}.")
