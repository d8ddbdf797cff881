"""``videozoo finetune``: train a model on a folder or list of videos and keep everything in one run folder."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli.accuracy import describe_chance, describe_trust
from videozoo.cli.command import Command, group
from videozoo.cli.console import Interrupted, print_result, show_log
from videozoo.training.resolve_settings import resolve_settings
from videozoo.training.run import run_training
from videozoo.training.settings import DEFAULTS, GROUPS

if TYPE_CHECKING:
    from videozoo.engine import FitResult


COMMAND = Command(
    help="train a model on your videos",
    usage="videozoo finetune [--model NAME] --data DIR_OR_LIST [--output RUN] [flags]",
    description="Train a model on a folder root/CLASS/VIDEO.mp4 or a list of `path label` lines. "
    "The run folder holds checkpoints (last, best), summary.csv, results.json, curves.png and confusion.png. "
    "Use the best epoch with: videozoo predict --model RUN/best FILE...",
    epilog="Example: videozoo finetune --model arc_tsm_r18 --data my_videos --output run --epochs 20. With several "
    "GPUs: torchrun --nproc-per-node 2 -m videozoo finetune ... See docs/training.md.",
    flags=tuple(group(title, *flags) for title, flags in GROUPS.items()),
)


def run(args: argparse.Namespace) -> int:
    """Train and print the result."""
    show_log()
    settings = resolve_settings({name: value for name, value in vars(args).items() if name in DEFAULTS})
    try:
        result = run_training(settings)
    except KeyboardInterrupt as stop:
        from videozoo.engine.run_folder import has_checkpoint

        if not settings.output or not has_checkpoint(Path(settings.output)):
            raise
        resume = shlex.join(["videozoo", "finetune", "--resume", "--output", settings.output])
        raise Interrupted(f"the last checkpoint is kept; continue with: {resume}", stop) from stop
    _print_result(result)
    return 0


def _describe_accuracy(result: "FitResult") -> list[str]:
    """Return the best epoch with its counts and interval, chance, and the last epoch."""
    best, last = result.best, result.best["last"]
    head = f"best epoch {result.best_epoch} of {len(result.history)}:"
    if "map" in best:
        others = [] if last["epoch"] == result.best_epoch else [f"last epoch {last['map']:.1%}"]
        others += [f"chance {best['chance']:.1%}"] if best.get("chance") is not None else []
        return [
            f"{head} mAP {best['map']:.1%}   ({best['num_videos']} validation videos)",
            f"           {', '.join([*others, 'the epoch was chosen on these videos'])}",
        ]
    top5 = f"   top-5 {best['top5']:.1%}" if len(best["class_names"]) > 5 else ""
    others = [] if last["epoch"] == result.best_epoch else [f"last epoch {last['top1']:.1%}"]
    lines = [f"{head} top-1 {best['top1']:.1%}{top5}   mean-class {best['mean_class']:.1%}"]
    if "top1_interval" in best:  # not in a run that an earlier version began
        lines += [
            f"           {describe_trust(best)}",
            f"           {', '.join([*others, *describe_chance(best)])}; the epoch was chosen on these videos",
        ]
    return lines


def _print_result(result: "FitResult") -> None:
    """Print the result and its folder."""
    folder = result.output
    model = shlex.quote(str(folder / "best"))
    pictures = () if "map" in result.best else (f"confusion  {folder / 'confusion.png'}",)
    lines = (
        *_describe_accuracy(result),
        f"weights    {folder / 'best'}",
        f"curves     {folder / 'curves.png'}",
        *pictures,
        f"classify   videozoo predict --model {model} FILE...",
    )
    for line in lines:
        print_result(line)
