"""Measure what ARC and DNR add to their base models on clips whose classes need the order of frames.

``python benchmarks/evidence.py --data FOLDER`` makes the runs of evidence_runs.py that have no line in evidence.csv
yet. Each is a plain ``videozoo finetune``, followed by ``videozoo evaluate`` on the test clips, once played backwards.
You can interrupt it: the same command continues, also within a run. ``--dry-run`` prints the commands.
evidence_page.py writes the page from the csv.

``FOLDER`` holds ``strokes/``, ``grid_words/`` and ``weights/resnet18_in1k_to_layer3.safetensors``.
"""

import argparse
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import timm
import torch
from evidence_runs import CLASSES, COMMON, SETS, VARIANTS, Run, all_runs, lists_of, partners, write_clips
from pages import write
from safetensors.torch import load_file, save_file

from videozoo import compose, model_config
from videozoo.engine import save_checkpoint

CSV = Path(__file__).resolve().parent / "evidence.csv"
COLUMNS = (
    *("study", "clips", "model", "split", "flags", "epochs", "train_seconds"),
    *("last_val_top1", "train_top1", "top1", "mean_class", "reversed_top1"),
    *("partner", "with_partner", "without_partner", "test_videos", "commit"),
)
IMAGENET = "weights/resnet18_in1k_to_layer3.safetensors"
_LOCK = Lock()


def start_of(run: Run, runs: Path) -> Path:
    """Return what a run starts from: the weights of the backbone, or the folder of a composition without a name."""
    return runs / f"starts/{run.model}_{run.clips}" if run.model in VARIANTS else weights_of("resnet18", runs)


def weights_of(backbone: str, runs: Path) -> Path:
    """Return the file of weights that a backbone starts from."""
    return runs / f"{backbone}.safetensors"


def write_start(run: Run, data: Path, runs: Path) -> None:
    """Write what a run starts from, unless it is there: ImageNet weights up to layer3, and a random layer4."""
    parts = VARIANTS.get(run.model)
    backbone = parts.backbone if parts else "resnet18"
    weights = weights_of(backbone, runs)
    torch.manual_seed(0)
    if backbone != "narrow_resnet18" and not weights.exists():
        state = timm.create_model("resnet18").state_dict() | load_file(data / IMAGENET)
        names = timm.create_model(backbone).state_dict().keys()  # group norms have no statistics
        save_file({name: state[name].contiguous() for name in names}, weights.with_suffix(".part"))
        weights.with_suffix(".part").rename(weights)
    if parts and not start_of(run, runs).exists():
        start = {"backbone_weights": weights} if weights.exists() else {}
        model = compose(backbone, parts.temporal, parts.augmenters, num_classes=CLASSES[run.clips], **start)
        save_checkpoint(start_of(run, runs), model.state_dict(), model_config(model))


def model_flags(run: Run, runs: Path) -> list[str]:
    """Return the flags that name the model and its start."""
    start = str(start_of(run, runs))
    if run.model in VARIANTS:
        return ["--model", start]
    return ["--model", f"{run.model}_r18", *([] if "--init-from" in run.flags else ["--backbone-weights", start])]


def commands_of(run: Run, data: Path, runs: Path) -> dict[str, list[str]]:
    """Return the arguments of ``videozoo`` for the training, the test and the test backwards."""
    train, val, test = lists_of(run, data, runs)
    folder = runs / run.name
    flags = f"{COMMON} {SETS[run.clips]} {run.flags}".format(split=run.split, runs=runs).split()
    evaluate = ["evaluate", "--model", str(folder / "last"), "--data", str(test), "--workers", "1"]
    return {
        "train": [
            *("finetune", *model_flags(run, runs)),
            *("--data", str(train), "--val", str(val), "--output", str(folder), *flags),
        ],
        "test": [*evaluate, "--output", str(folder / "test")],
        "reversed": [*evaluate, "--reverse", "--output", str(folder / "reversed")],
    }


def call(args: Sequence[str], log: Path, threads: int) -> None:
    """Run one command of videozoo and append what it prints to a log.

    Raises:
        subprocess.CalledProcessError: it failed. The log says why.
    """
    with log.open("a") as file:
        file.write(f"$ videozoo {shlex.join(args)}\n")
        file.flush()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-m", "videozoo", *args], stdout=file, stderr=file, env=environment, check=True)


def make(run: Run, data: Path, runs: Path, threads: int) -> dict[str, Any]:
    """Train and test one model and return its line of the csv. Parts that are there already are not made again."""
    commands, folder, log = commands_of(run, data, runs), runs / run.name, runs / f"{run.name}.log"
    with _LOCK:
        write_start(run, data, runs)
        if run.clips == "hard_motions":
            write_clips(runs)
    if not is_done(folder, commands["train"]):
        call([*commands["train"], *(["--resume"] if folder.exists() else [])], log, threads)
    for part in tests_of(run):
        if not (folder / part / "results.json").exists():
            call(commands[part], log, threads)
    return line_of(run, folder)


def tests_of(run: Run) -> tuple[str, ...]:
    """Return the tests of a run: none while the recipe is chosen, by the validation clips alone."""
    return () if run.study == "recipe" else ("test", "reversed")


def is_done(folder: Path, args: Sequence[str]) -> bool:
    """Return True if the run has all its epochs."""
    epochs = int(args[len(args) - 1 - args[::-1].index("--epochs") + 1])
    return len(read_csv(folder / "summary.csv")) >= epochs


def line_of(run: Run, folder: Path) -> dict[str, Any]:
    """Return the line of a finished run."""
    epochs = read_csv(folder / "summary.csv")
    line = {
        **{"study": run.study, "clips": run.clips, "model": run.model, "split": run.split, "flags": run.flags},
        "epochs": len(epochs),
        "train_seconds": round(sum(float(row["seconds"]) for row in epochs), 1),
        "last_val_top1": epochs[-1]["val_top1"],
        "train_top1": epochs[-1]["train_top1"],
        "commit": current_commit(),
    }
    tests = {part: json.loads((folder / part / "results.json").read_text()) for part in tests_of(run)}
    if tests:
        line |= {key: round(tests["test"][key], 6) for key in ("top1", "mean_class")}
        line |= {"test_videos": tests["test"]["num_videos"], "reversed_top1": round(tests["reversed"]["top1"], 6)}
        line |= partner_scores(run.clips, folder / "test" / "confusion.csv")
    return line


def partner_scores(clips: str, path: Path) -> dict[str, float]:
    """Return what a confusion matrix says of the classes that have a partner, nothing where no class has one.

    ``partner`` is the share of test videos that are taken for the partner of their class. Where only some classes have
    one, ``with_partner`` and ``without_partner`` are the accuracies on both kinds.
    """
    head, *rows = list(csv.reader(path.read_text().splitlines()))
    counts = {row[0]: dict(zip(head[1:], map(int, row[1:]), strict=True)) for row in rows}
    totals = {name: sum(row.values()) for name, row in counts.items()}
    partner = partners(clips, head[1:])

    def top1(names: set[str]) -> float:
        return round(sum(counts[name][name] for name in names) / sum(totals[name] for name in names), 6)

    if not partner:
        return {}
    swapped = sum(counts[name][other] for name, other in partner.items())
    found = {"partner": round(swapped / sum(totals.values()), 6)}
    if others := counts.keys() - partner.keys():
        found |= {"with_partner": top1(set(partner)), "without_partner": top1(others)}
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a csv file, none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def current_commit() -> str:
    """Return the short name of the commit that is checked out."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=CSV.parent, capture_output=True, text=True, check=True).stdout.strip()


def add_line(line: dict[str, Any]) -> None:
    """Add a line to evidence.csv, in the order of `all_runs`."""
    with _LOCK:
        order = {run.name: place for place, run in enumerate(all_runs())}
        lines = [*read_csv(CSV), line]
        lines.sort(key=lambda each: order.get(name_of(each), len(order)))
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write(CSV, text.getvalue())


def name_of(line: dict[str, Any]) -> str:
    """Return the name of the run that a line of the csv is of."""
    return Run(line["study"], line["clips"], line["model"], int(line["split"]), line["flags"]).name


def main() -> int:
    """Make the runs that are missing; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with strokes/, grid_words/ and weights/")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="folder for the run folders")
    parser.add_argument("--only", default="", metavar="REGEX", help="runs whose name matches, such as models-strokes")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, which share the processor")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after this time")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    done = {name_of(line) for line in read_csv(CSV)}
    todo = [run for run in all_runs() if run.name not in done and re.search(args.only, run.name)]
    if args.dry_run:
        for run in todo:
            for command in commands_of(run, args.data, args.runs).values():
                print("videozoo", shlex.join(command))
        return 0
    end, threads = time.monotonic() + 60 * args.minutes, max(1, (os.cpu_count() or 1) // args.jobs)

    def make_one(run: Run) -> bool:
        if time.monotonic() > end:
            return True
        try:
            line = make(run, args.data, args.runs, threads)
        except subprocess.CalledProcessError as error:
            print(f"{run.name}: failed with exit status {error.returncode}; see {args.runs / run.name}.log", flush=True)
            return False
        add_line(line)
        print(f"{run.name}: {line['train_seconds']:.0f} s, validation {line['last_val_top1']}", flush=True)
        return True

    with ThreadPoolExecutor(args.jobs) as pool:
        return 0 if all(list(pool.map(make_one, todo))) else 1


if __name__ == "__main__":
    sys.exit(main())
