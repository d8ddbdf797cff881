"""The command ``videozoo``: one file per sub-command, which imports heavy packages inside its functions."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from videozoo.cli.command import CommandParser, Parser
from videozoo.cli.console import answer
from videozoo.freed_memory import keep_freed_memory
from videozoo.version import __version__

__all__ = ["build_parser", "main", "run_command"]

# Each is a module of this package with a ``COMMAND`` and a function ``run``; in the order of the help.
_COMMANDS = (
    *("quickstart", "check-data", "prepare", "finetune", "evaluate", "predict", "export", "explain", "confusion"),
    *("compare", "stream", "extract", "demo", "list", "info", "report", "convert", "card", "push"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status.

    0: all done. 1: done in part (``predict`` met a broken file). 2: bad usage or bad input, one line on stderr says
    which. 130: stopped by Ctrl-C.
    """
    bound_spinning()
    keep_freed_memory()
    open_closed_streams()
    return answer(lambda: run_command(argv))


def open_closed_streams() -> None:
    """Open the null device for standard streams that are closed, as schedulers may start a program."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


def bound_spinning() -> None:
    """Bound how long OpenMP threads spin while they wait, unless the user has set it.

    Read when torch is loaded.

    By default libgomp spins 300,000 times, which on a busy machine takes the processor from the thread that is waited
    for. With 3,000 an idle machine loses nothing and a busy one is about as fast as with passive waiting
    (benchmarks/wait_policy.md).
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def run_command(argv: Sequence[str] | None = None) -> int:
    """Parse a command line and run its sub-command.

    Errors come out as exceptions.
    """
    args = build_parser().parse_args(argv)
    status: int = args.run(args)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command."""
    parser = Parser(
        prog="videozoo",
        description="Video action recognition: fine-tune a model on your videos, measure it, classify new ones.",
        epilog="No videos at hand? `videozoo quickstart` generates some and trains on them. See videozoo COMMAND "
        "--help for the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"videozoo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name in _COMMANDS:
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        module.COMMAND.add(commands, name, module.run)
    return parser
