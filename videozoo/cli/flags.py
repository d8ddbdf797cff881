"""Flags that several commands have."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from videozoo.choices import is_onnx
from videozoo.cli.command import Flag, flag, switch
from videozoo.cli.console import CommandError
from videozoo.ranges import RANGES, describe_problem

DEVICE_HELP = "auto (a GPU if there is one), or a device of torch: cpu, cuda:1, mps, xpu"
DEVICE = flag("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
AMP = switch("--amp", help="mixed precision (bfloat16)")


def model_flag(also: str = "") -> Flag:
    """``--model``, required; ``also`` says what else it may be."""
    names = ["a folder such as RUN/best", "hf-hub:ORG/NAME"]
    names += ["a name with weights", f"or {also}"] if also else ["or a name with weights"]
    return flag("--model", required=True, metavar="NAME", help=", ".join(names))


def _set_max_frames(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames above 0")
    set_max_frames(int(text))
    return int(text)


MODEL = model_flag()
# It reaches the reader by the environment, in worker processes too.
MAX_FRAMES = flag(
    "--max-frames",
    type=_set_max_frames,
    default=argparse.SUPPRESS,
    metavar="N",
    help="frames that may be decoded for one video; raise it for hours-long files without an index [200000]",
)
# The flags that name labelled videos.
SOURCE_FLAGS = (
    flag("--data", required=True, metavar="DIR_OR_LIST", help="labelled videos, as for finetune"),
    flag("--data-root", metavar="DIR", help="folder that paths in a list start from"),
    flag("--data-format", metavar="NAME", help="format of the list, where it is not recognised"),
    flag("--split", metavar="NAME", help="split, where one list holds several"),
)
# The flags of work done by several processes.
WORK_FLAGS = (
    flag("-j", "--workers", type=int, default=2, metavar="N", help="files worked on at a time"),
    flag("--time-limit", type=float, default=300.0, metavar="SEC", help="a file that takes longer counts as broken"),
)


def refuse_onnx(model: str, why: str) -> None:
    """Refuse an ONNX file where a network of modules is needed.

    Raises:
        CommandError: names the file and ``why``.
    """
    if is_onnx(model):
        raise CommandError(f"--model {model}: an ONNX file {why}.")


def set_max_frames(count: int) -> None:
    """Let the reader decode so many frames of a video, in processes that start from now on too."""
    os.environ["VIDEOZOO_MAX_FRAMES"] = str(count)


def flag_of(name: str) -> str:
    """Return the flag of a setting: ``--batch-size`` of ``batch_size``."""
    return "--" + name.replace("_", "-")


def check_ranges(command: str, values: Mapping[str, Any]) -> None:
    """Refuse numbers that are out of their range, whether flags, a recipe or a file gave them.

    Args:
        command: named in the error.
        values: by the names of settings; other values than numbers are passed over.
    Raises:
        CommandError: names the flag.
    """
    for name in RANGES.keys() & values.keys():
        value = values[name]
        is_number = isinstance(value, int | float) or (isinstance(value, list | tuple) and bool(value))
        problem = describe_problem(name, value) if is_number else None
        if problem:
            raise CommandError(f"{command}: {flag_of(name)} {problem}.")


def parse_views(text: str | None, flag: str = "--views") -> tuple[int, int] | None:
    """``"10x3"`` as (10, 3).

    Raises:
        CommandError: another form, or crops that do not exist.
    """
    from videozoo.data import parse_views as parse

    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(
            f"{flag} is {text!r}; write clips x crops, such as 1x1 or 10x3; crops are 1 (the centre), 3 (along the "
            "longer side), 5 (corners and centre) or 10 (those mirrored too)."
        ) from error
