"""``videozoo quickstart``: the whole way, with nothing at hand: make videos, train, measure, classify."""

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli.console import CommandError, Interrupted, Parser, say
from videozoo.cli.flags import add_device_flag

if TYPE_CHECKING:
    from videozoo.engine import EvalResult

MODELS = ("tsn_r18", "arc_tsm_r18")
CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, SIZE = 60, 25, 48
TRAINING = "--epochs 7 --batch-size 8 --lr 2e-3 --img-size 48 --crop-pct 1.0 --workers 1"


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "quickstart",
        help="make videos, train two networks on them, compare: 4 minutes on a laptop",
        description="Writes a generated set of short mp4 files whose classes come in pairs, one the other played "
        "backwards; trains tsn_r18, which averages over frames, and arc_tsm_r18, which models time; measures both; "
        "classifies a file. Takes about 4 minutes on 2 CPU cores.",
    )
    parser.add_argument("--output", default="quickstart", metavar="DIR", help="folder for videos and runs; must be new")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of videos and training")
    add_device_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the videos, then do with them what a user would do with theirs."""
    output = Path(args.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CommandError(f"{output}: exists; remove it, or give another folder with --output.")
    if args.seed < 0:
        raise CommandError(f"quickstart: --seed is {args.seed}; it must be 0 or more.")
    try:
        return _run(output, args.seed, args.device)
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(f"{output} is left as it is; remove it to begin again") from stop


def _run(output: Path, seed: int, device: str) -> int:
    started = time.perf_counter()
    videos = _write_videos(output, seed)
    rows = []
    for name in MODELS:
        began = time.perf_counter()
        flags = f"--seed {seed} --device {device} {TRAINING}".split()
        _do(["finetune", "--model", name, "--data", str(videos), "--output", str(output / name), *flags])
        result = _evaluate(output / name, videos, device)
        rows.append((name, result, time.perf_counter() - began))
    best = output / MODELS[-1] / "best"
    from videozoo.data.motions import PAIRS

    _do(["predict", "--model", f"local-dir:{best}", str(videos / "val" / PAIRS[0][0] / "scene_000.mp4")])
    _say_table(rows)
    _say_places(output, time.perf_counter() - started)
    return 0


def _write_videos(output: Path, seed: int) -> Path:
    from videozoo.data.motions import motion_classes, write_motions

    videos = write_motions(
        output / "videos",
        clips_per_class=CLIPS_PER_CLASS,
        val_clips_per_class=VAL_CLIPS_PER_CLASS,
        size=SIZE,
        seed=seed,
    )
    names = motion_classes()
    say(
        f"wrote {len(names) * (CLIPS_PER_CLASS + VAL_CLIPS_PER_CLASS)} videos of {len(names)} classes to {videos}: "
        f"{', '.join(names)}"
    )
    return videos


def _do(argv: Sequence[str]) -> None:
    """Show a command and do it."""
    from videozoo.cli import run_command

    say()
    say(f"$ videozoo {shlex.join(argv)}")
    run_command(argv)


def _evaluate(run_folder: Path, videos: Path, device: str) -> "EvalResult":
    from videozoo.cli.evaluate import evaluate_model

    return evaluate_model(f"local-dir:{run_folder / 'best'}", videos / "val", device=device, workers=0)[1]


def within_pairs(result: "EvalResult") -> float:
    """How often the true class scores higher than its time-reversed partner: 0.5 is chance."""
    import torch

    from videozoo.data.motions import partner_of

    names = list(result.class_names)
    partners = torch.tensor([names.index(partner_of(name)) for name in names])
    own = result.scores.gather(1, result.labels[:, None])
    other = result.scores.gather(1, partners[result.labels][:, None])
    return ((own > other).double() + 0.5 * (own == other).double()).mean().item()


def _say_table(rows: "Sequence[tuple[str, EvalResult, float]]") -> None:
    say()
    say(f"{'':<14}{'top-1':>8}{'within pairs':>15}{'mean-class':>13}{'seconds':>10}")
    for name, result, seconds in rows:
        say(f"{name:<14}{result.top1:>8.1%}{within_pairs(result):>15.1%}{result.mean_class:>13.1%}{seconds:>10.0f}")
    num_classes = len(rows[0][1].class_names)
    say(f"{'chance':<14}{1 / num_classes:>8.1%}{0.5:>15.1%}{1 / num_classes:>13.1%}")
    say()
    say("within pairs: how often the true class scores above the same motion played backwards. Without the order of")
    say("frames the two cannot be told apart, so tsn_r18, which averages over frames, can only guess there.")


def _say_places(output: Path, seconds: float) -> None:
    say()
    for title, file in (("run", ""), ("curves", "curves.png"), ("confusion", "confusion.png")):
        say(f"{title:<11}{'   '.join(str(output / name / file) for name in MODELS)}")
    say(f"{'took':<11}{seconds:.0f} s")
    say()
    say("next, with your own videos in FOLDER/CLASS/*.mp4:")
    say("  videozoo finetune --model arc_tsm_r18 --backbone-weights tv_in1k --data FOLDER --output RUN")
