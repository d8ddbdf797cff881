"""Train the bundled tiny models on generated motions and write their weights, configs and cards into the package.

    python scripts/train_test_models.py WORKDIR [NAME...]
    python scripts/train_test_models.py --cards

WORKDIR gets the videos and the runs; those that are there already are used again. A model takes about ten minutes on
one CPU core. The accuracies are of videos that no run sees, not even to choose its best epoch. ``--cards`` writes the
cards again from the files in the package.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch

import videozoo
from videozoo.cli import run_command
from videozoo.cli.quickstart import within_pairs
from videozoo.data.motions import PAIRS, write_motions
from videozoo.engine import result_dict, write_results
from videozoo.models.published import BUNDLED, BUNDLED_TAG
from videozoo.publish import find_source, render_card
from videozoo.training.api import evaluate

# Models and the flags with which they learn all pairs (with some seeds ARC needs more epochs).
RUNS = {"test_arc_tsm": "--epochs 15 --seed 42", "test_dnr_tsn": "--epochs 10 --seed 1"}
SIZE, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, TEST_CLIPS_PER_CLASS = 48, 200, 40, 100
VIDEOS_SEED, TEST_SEED = 1, 2
TRAINING = "--from-scratch --batch-size 16 --lr 4e-3 --img-size 48 --crop-pct 1.0 --workers 1 --device cpu"
FOR_TESTING = (
    "For testing only: to try loading, prediction and fine-tuning offline. It classifies generated motions of simple "
    "shapes, half of which are the others played backwards. It is of no use on real videos."
)


def make_videos(root: Path) -> tuple[Path, Path]:
    """Return the folders with the videos of the runs and with the test videos."""
    for name, seed, train, val in (
        ("videos", VIDEOS_SEED, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS),
        ("test_videos", TEST_SEED, 1, TEST_CLIPS_PER_CLASS),
    ):
        if not (root / name).exists():
            write_motions(root / name, clips_per_class=train, val_clips_per_class=val, size=SIZE, seed=seed)
    return root / "videos", root / "test_videos" / "val"


def train(name: str, root: Path, videos: Path) -> Path:
    """Train a model, unless its run is there already, and return the run folder."""
    run = root / name
    if not (run / "best").exists():
        flags = f"--model {name} {RUNS[name]} {TRAINING}".split()
        run_command(["finetune", *flags, "--data", str(videos), "--output", str(run)])
    return run


def bundle(name: str, run: Path, test: Path) -> None:
    """Evaluate a run and write its weights, config, results and card into the package."""
    source = find_source(run)
    result = evaluate(model=source.folder, data=test, device="cpu", workers=0)
    figures = {"top1": result.top1, "mean_class": result.mean_class, "within_pairs": within_pairs(result)}
    print(name, figures, flush=True)
    folder = BUNDLED / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.folder / "model.safetensors", folder / "model.safetensors")
    config: dict[str, Any] = json.loads((source.folder / "config.json").read_text())
    config["pretrained_cfg"] |= {
        "tag": BUNDLED_TAG,
        "license": "Apache-2.0",
        "dataset": "videozoo's generated motions",
        "description": FOR_TESTING,
        "metrics": {key: round(value, 4) for key, value in figures.items()},
        "train_recipe": f"scripts/train_test_models.py: videozoo finetune {RUNS[name]} {TRAINING}",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    # `videozoo card` and `push` read the accuracy and the confusion matrix from here.
    results = {**result_dict(result), "confusion": result.confusion.tolist()}
    write_results(folder / "results.json", {key: value for key, value in results.items() if key != "seconds"})
    (folder / "README.md").write_text(card_text(name), encoding="utf-8")


def card_text(name: str) -> str:
    """Return the card of a bundled model, which is loaded by its name instead of from the Hub."""
    folder = BUNDLED / name
    model = videozoo.create_model(f"local-dir:{folder}", pretrained=True)
    card = render_card(model, find_source(folder), f"videozoo/{name}").replace(f"hf-hub:videozoo/{name}", name)
    pairs = ", ".join(" and ".join(pair) for pair in PAIRS)
    note = (
        f"Pairs of classes that are each other played backwards: {pairs}. The test videos were generated with another "
        "seed than the training and validation videos."
    )
    return card.replace(FOR_TESTING, f"**{FOR_TESTING}**", 1).replace("## Use\n", f"{note}\n\n## Use\n", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, nargs="?")
    parser.add_argument("--cards", action="store_true", help="only write the cards again")
    parser.add_argument("names", nargs="*", choices=(*RUNS, []), metavar="NAME", help=", ".join(RUNS))
    args = parser.parse_args()
    if args.cards:
        for name in RUNS:
            (BUNDLED / name / "README.md").write_text(card_text(name), encoding="utf-8")
        return
    if args.workdir is None:
        parser.error("WORKDIR is missing; give a folder for the videos and runs, or --cards")
    torch.set_num_threads(1)
    videos, test = make_videos(args.workdir)
    for name in args.names or RUNS:
        bundle(name, train(name, args.workdir, videos), test)


if __name__ == "__main__":
    main()
