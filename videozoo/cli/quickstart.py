"""``videozoo quickstart``: every step of the main job on generated videos: classify, train, evaluate, classify."""

import argparse
import csv
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli import evaluate, finetune, predict
from videozoo.cli.command import Command, Parser, flag
from videozoo.cli.console import CommandError, Interrupted, print_result
from videozoo.cli.flags import DEVICE
from videozoo.files import LOCK, remove_leftovers, replace_folder, write_file
from videozoo.jobs.output_folders import hold_output

if TYPE_CHECKING:
    from videozoo.engine import EvalResult

MODELS = ("tsn_r18", "arc_tsm_r18")
BUNDLED = "test_arc_tsm.motions"
CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, SIZE = 40, 20, 48
# Four frames: enough to see the direction of a motion, at half the cost of eight.
TRAINING = "--from-scratch --num-frames 4 --epochs 6 --batch-size 8 --lr 1e-3 --img-size 48 --crop-pct 1.0 --workers 1"
SETTINGS_FILE = "quickstart.json"


COMMAND = Command(
    help="generate videos, train two models on them and compare: a few minutes on a laptop",
    description="Generate short mp4 files whose classes come in pairs, one the other played backwards. Classify them "
    "with a bundled tiny model, without training. Then train tsn_r18, which averages over frames, and arc_tsm_r18, "
    "which models time, evaluate both and classify a file. An interrupted run continues with the same command.",
    flags=(
        flag("--output", default="quickstart", metavar="DIR", help="folder for videos and runs"),
        flag("--seed", type=int, default=0, metavar="N", help="random seed of videos and training"),
        DEVICE,
    ),
)


def run(args: argparse.Namespace) -> int:
    """Write the videos, then do what a user would do with their own."""
    output = Path(args.output)
    if args.seed < 0:
        raise CommandError(f"quickstart: --seed is {args.seed}; it must be 0 or more.")
    try:
        with hold_output(output, "a quickstart"):
            _claim(output, args.seed)
            return _run(output, args.seed, args.device)
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(f"run the same command again to continue in {output}") from stop


def _claim(output: Path, seed: int) -> None:
    """Write the settings to a new folder, or check that it is of an earlier call with the same settings.

    Raises:
        CommandError: it holds something else.
    """
    settings = {"seed": seed, "clips": [CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, SIZE], "training": TRAINING}
    file = output / SETTINGS_FILE
    remove_leftovers(output.iterdir())  # of a call that was killed as it began
    if all(path.name == LOCK for path in output.iterdir()):
        write_file(file, json.dumps(settings) + "\n")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != settings:
        reason = "exists" if found is None else "was made with another --seed, or by another version"
        raise CommandError(f"{output}: {reason}; remove it, or give another folder with --output.")


def _run(output: Path, seed: int, device: str) -> int:
    from videozoo.data.motions import PAIRS

    started = time.perf_counter()
    videos = _write_videos(output, seed)
    clip = videos / "val" / PAIRS[0][0] / "scene_000.mp4"
    print_result()
    print_result("1. Without training: a bundled tiny model that knows these motions, on videos that it has never seen")
    _do(["predict", "--model", BUNDLED, "--device", device, str(clip)])
    _do(["evaluate", "--model", BUNDLED, "--device", device, "--workers", "0", "--data", str(videos / "val")])
    print_result()
    print_result("2. With training: two models from scratch")
    rows = []
    for name in MODELS:
        _train(output / name, name, videos, [*f"--seed {seed} --device {device} {TRAINING}".split()])
        rows.append((name, _evaluate(output / name, videos, device), _training_seconds(output / name)))
    _do(["predict", "--model", str(output / MODELS[-1] / "best"), "--device", device, str(clip)])
    _say_table(rows)
    _say_places(output, time.perf_counter() - started)
    return 0


def _write_videos(output: Path, seed: int) -> Path:
    from videozoo.data.motions import motion_classes, write_motions

    videos = output / "videos"
    names = motion_classes()
    if not videos.exists():
        replace_folder(
            videos,
            lambda folder: write_motions(
                folder,
                clips_per_class=CLIPS_PER_CLASS,
                val_clips_per_class=VAL_CLIPS_PER_CLASS,
                size=SIZE,
                seed=seed,
            ),
        )
    print_result(
        f"{len(names) * (CLIPS_PER_CLASS + VAL_CLIPS_PER_CLASS)} videos of {len(names)} classes in {videos}: "
        f"{', '.join(names)}"
    )
    return videos


def _train(run_folder: Path, name: str, videos: Path, flags: Sequence[str]) -> None:
    """Start the run or continue it. A finished run is left as it is."""
    if (run_folder / "args.json").is_file():
        _do(["finetune", "--resume", "--output", str(run_folder)])
    else:
        _do(["finetune", "--model", name, "--data", str(videos), "--output", str(run_folder), *flags])


def _training_seconds(run_folder: Path) -> float:
    with open(run_folder / "summary.csv", newline="", encoding="utf-8") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def _do(argv: Sequence[str]) -> None:
    parser = Parser(prog="videozoo")
    commands = parser.add_subparsers()
    for name, command in (("finetune", finetune), ("evaluate", evaluate), ("predict", predict)):
        command.COMMAND.add(commands, name, command.run)
    print_result()
    print_result(f"$ videozoo {shlex.join(argv)}")
    args = parser.parse_args(argv)
    args.run(args)


def _evaluate(run_folder: Path, videos: Path, device: str) -> "EvalResult":
    from videozoo.training.api import evaluate as measure

    return measure(model=run_folder / "best", data=videos / "val", device=device, workers=0)


def within_pairs(result: "EvalResult") -> float:
    """Return how often the true class scores higher than its time-reversed partner.

    Chance is 0.5.
    """
    import torch

    from videozoo.data.motions import partner_of

    names = list(result.class_names)
    partners = torch.tensor([names.index(partner_of(name)) for name in names])
    own = result.scores.gather(1, result.labels[:, None])
    other = result.scores.gather(1, partners[result.labels][:, None])
    return ((own > other).double() + 0.5 * (own == other).double()).mean().item()


def _say_table(rows: "Sequence[tuple[str, EvalResult, float]]") -> None:
    print_result()
    print_result(f"{'':<14}{'top-1':>8}{'within pairs':>15}{'mean-class':>13}{'seconds':>10}")
    for name, result, seconds in rows:
        print_result(
            f"{name:<14}{result.top1:>8.1%}{within_pairs(result):>15.1%}{result.mean_class:>13.1%}{seconds:>10.0f}"
        )
    num_classes = len(rows[0][1].class_names)
    print_result(f"{'chance':<14}{1 / num_classes:>8.1%}{0.5:>15.1%}{1 / num_classes:>13.1%}")
    print_result()
    print_result(
        "within pairs: how often the true class scores above the same motion played backwards. Without the order of"
    )
    print_result("frames the two look the same, so tsn_r18, which averages over frames, can only guess there.")


def _say_places(output: Path, seconds: float) -> None:
    print_result()
    for title, file in (("run", ""), ("curves", "curves.png"), ("confusion", "confusion.png")):
        print_result(f"{title:<11}{'   '.join(str(output / name / file) for name in MODELS)}")
    print_result(f"{'took':<11}{seconds:.0f} s")
    print_result()
    print_result("next, with your own videos in FOLDER/CLASS/*.mp4:")
    print_result("  videozoo finetune --model arc_tsm_r18 --data FOLDER --output RUN")
