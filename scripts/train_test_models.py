"""Train the tiny weights that travel with the package, on generated motions, and write them into it.

``python scripts/train_test_models.py WORKDIR [NAME...]``: WORKDIR gets the videos and the runs, which are kept if they
are there; about ten minutes a network on one CPU core. The figures in config and card are of videos that no run sees,
not even to choose its best epoch.
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from videozoo.cli import run_command
from videozoo.cli.quickstart import within_pairs
from videozoo.data.motions import PAIRS, write_motions
from videozoo.engine import result_dict, write_results
from videozoo.models.published import BUNDLED, BUNDLED_TAG
from videozoo.publish import find_source, render_card
from videozoo.training.api import evaluate

# A network of each, and what its run needs to see through all pairs (of ARC some seeds need longer).
RUNS = {"test_arc_tsm": "--epochs 15 --seed 42", "test_dnr_tsn": "--epochs 10 --seed 1"}
SIZE, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, TEST_CLIPS_PER_CLASS = 48, 200, 40, 100
VIDEOS_SEED, TEST_SEED = 1, 2
TRAINING = "--from-scratch --batch-size 16 --lr 4e-3 --img-size 48 --crop-pct 1.0 --workers 1 --device cpu"
FOR_TRIALS = (
    "For trials only: made to try loading, predicting and fine-tuning with nothing at hand. It tells generated motions "
    "of plain shapes apart, of which half are others played backwards, and is of no use on real videos."
)


def make_videos(root: Path) -> tuple[Path, Path]:
    """Folders with the videos of the runs and with those to measure on."""
    for name, seed, train, val in (
        ("videos", VIDEOS_SEED, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS),
        ("test_videos", TEST_SEED, 1, TEST_CLIPS_PER_CLASS),
    ):
        if not (root / name).exists():
            write_motions(root / name, clips_per_class=train, val_clips_per_class=val, size=SIZE, seed=seed)
    return root / "videos", root / "test_videos" / "val"


def train(name: str, root: Path, videos: Path) -> Path:
    """The run folder of a network."""
    run = root / name
    if not (run / "best").exists():
        flags = f"--model {name} {RUNS[name]} {TRAINING}".split()
        run_command(["finetune", *flags, "--data", str(videos), "--output", str(run)])
    return run


def ship(name: str, run: Path, test: Path) -> None:
    """Measure, and put weights, config and card into the package."""
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
        "description": FOR_TRIALS,
        "metrics": {key: round(value, 4) for key, value in figures.items()},
        "train_recipe": f"scripts/train_test_models.py: videozoo finetune {RUNS[name]} {TRAINING}",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    # Read by videozoo card and push: the accuracy with its confusion goes with the weights.
    results = {**result_dict(result), "confusion": result.confusion.tolist()}
    write_results(folder / "results.json", {key: value for key, value in results.items() if key != "seconds"})
    assert source.run is not None
    measured = replace(source.run, results=result_dict(result), confusion=result.confusion, picture=None)
    card = render_card(_network(folder), replace(source, folder=folder, run=measured), f"videozoo/{name}")
    (folder / "README.md").write_text(_as_bundled(card, name))


def _network(folder: Path) -> Any:
    import videozoo

    return videozoo.create_model(f"local-dir:{folder}", pretrained=True)


def _as_bundled(card: str, name: str) -> str:
    """The card of something that is in the package already, on no hub."""
    card = card.replace(f"hf-hub:videozoo/{name}", name).replace(FOR_TRIALS, f"**{FOR_TRIALS}**", 1)
    pairs = "; ".join(" and ".join(pair) for pair in PAIRS)
    note = (
        f"The pairs: {pairs}. The accuracies are of videos of another seed than those of training and of choosing the "
        "best epoch."
    )
    return card.replace("## Use\n", f"{note}\n\n## Use\n", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("names", nargs="*", choices=(*RUNS, []), metavar="NAME", help=", ".join(RUNS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    videos, test = make_videos(args.workdir)
    for name in args.names or RUNS:
        ship(name, train(name, args.workdir, videos), test)


if __name__ == "__main__":
    main()
