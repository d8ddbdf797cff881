"""Train the bundled models and write their weights, configs and cards into the package.

    python scripts/train_bundled.py [--data FOLDER] WORKDIR [NAME...]
    python scripts/train_bundled.py --cards

WORKDIR gets the generated videos and the runs; those that are there already are used again. FOLDER has ``strokes/``,
which only the models on real clips need. A model takes about ten minutes on one CPU core. The accuracies are of videos
that no run sees, not even to choose its best epoch. ``--cards`` writes the cards again from the files in the package.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import videozoo
from videozoo.cli import run_command
from videozoo.cli.quickstart import within_pairs
from videozoo.data.motions import PAIRS, write_motions
from videozoo.engine import result_dict, write_results
from videozoo.hub.write import save_weights
from videozoo.models.published import BUNDLED
from videozoo.publish import find_source, render_card
from videozoo.training.api import evaluate

SIZE, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS, TEST_CLIPS_PER_CLASS = 48, 200, 40, 100
VIDEOS_SEED, TEST_SEED = 1, 2


@dataclass(frozen=True)
class Data:
    """What models are trained on.

    Args:
        tag: of the weights.
        title: name of the data set.
        license: of the weights.
        about: first sentences of the card.
        note: about classes and test videos.
        flags: of all trainings on it.
    """

    tag: str
    title: str
    license: str
    about: str
    note: str
    flags: str


MOTIONS = Data(
    "motions",
    "videozoo's generated motions",
    "Apache-2.0",
    "For testing only: to try loading, prediction and fine-tuning offline. It classifies generated motions of simple "
    "shapes, half of which are the others played backwards. It is of no use on real videos.",
    f"Pairs of classes that are each other played backwards: {', '.join(' and '.join(pair) for pair in PAIRS)}. The "
    "test videos were generated with another seed than the training and validation videos.",
    "--from-scratch --batch-size 16 --lr 4e-3 --img-size 48 --crop-pct 1.0 --workers 1 --device cpu",
)
STROKES = Data(
    "strokes_64px",
    "MSR-Action3D, strokes",
    "other",
    "A small start for clips of 64 pixels where nothing can be downloaded, and for trials. It classifies halves of "
    "actions, forth and back, in depth images of one person.",
    "Classes come in pairs: `_go` leads from rest to the middle of an action, `_back` from there to rest. The people "
    "of the test videos are in no training or validation video. The owners of the videos (Li, Zhang and Liu, 2010) "
    "state no terms.",
    "--from-scratch --batch-size 16 --lr 2e-3 --drop 0.2 --warmup-epochs 2 --img-size 64 --workers 1 --device cpu "
    "--amp --addon-lr-scale 0.1",
)
# Models and the flags with which they learn all pairs (with some seeds ARC needs more epochs).
MODELS = {
    "test_arc_tsm": (MOTIONS, "--epochs 15 --seed 42"),
    "test_dnr_tsn": (MOTIONS, "--epochs 10 --seed 1"),
    "arc_tsm_narrow_r18": (STROKES, "--epochs 40 --seed 1"),
    "dnr_tsn_narrow_r18": (STROKES, "--epochs 40 --seed 1"),
}


def make_motions(root: Path) -> list[str]:
    """Write the generated videos, unless they are there, and return paths of training, validation and test videos."""
    for name, seed, train, val in (
        ("videos", VIDEOS_SEED, CLIPS_PER_CLASS, VAL_CLIPS_PER_CLASS),
        ("test_videos", TEST_SEED, 1, TEST_CLIPS_PER_CLASS),
    ):
        if not (root / name).exists():
            write_motions(root / name, clips_per_class=train, val_clips_per_class=val, size=SIZE, seed=seed)
    return [str(root / path) for path in ("videos/train", "videos/val", "test_videos/val")]


def train(name: str, root: Path, data: Path | None) -> tuple[Path, str]:
    """Train a model, unless its run is there already, and return the run folder and the path of the test videos.

    Raises:
        SystemExit: the folder with the real clips is missing.
    """
    about, own = MODELS[name]
    run = root / name
    if about is MOTIONS:
        lists = make_motions(root)
    elif data is None:
        raise SystemExit(f"{name} needs --data FOLDER")
    else:
        lists = [str(data / "strokes" / f"{part}.txt") for part in ("train", "val", "test")]
    if not (run / "best").exists():
        flags = ["--model", name, *own.split(), *about.flags.split()]
        run_command(["finetune", *flags, "--data", lists[0], "--val", lists[1], "--output", str(run)])
    return run, lists[2]


def bundle(name: str, run: Path, test: str) -> None:
    """Evaluate a run in half precision and write its weights, config, results and card into the package."""
    about, own = MODELS[name]
    source = find_source(run)
    folder = BUNDLED / name
    folder.mkdir(parents=True, exist_ok=True)
    state = load_file(source.folder / "model.safetensors")
    config: dict[str, Any] = json.loads((source.folder / "config.json").read_text())
    full = evaluate(model=source.folder, data=test, device="cpu", workers=0).top1
    if about is STROKES:
        state = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    save_weights(state, folder)
    config["pretrained_cfg"] |= {
        "tag": about.tag,
        "license": about.license,
        "dataset": about.title,
        "description": about.about,
        "train_recipe": f"scripts/train_bundled.py: videozoo finetune {own} {about.flags}",
    }
    write_config(folder, config)
    result = evaluate(model=folder, data=test, device="cpu", workers=0)
    figures = {"top1": result.top1, "mean_class": result.mean_class}
    if about is MOTIONS:
        figures["within_pairs"] = within_pairs(result)
    print(name, figures, f"in float32: {full}", flush=True)
    config["pretrained_cfg"]["metrics"] = {key: round(value, 4) for key, value in figures.items()}
    write_config(folder, config)
    # `videozoo card` and `push` read the accuracy and the confusion matrix from here.
    results = {**result_dict(result), "confusion": result.confusion.tolist()}
    write_results(folder / "results.json", {key: value for key, value in results.items() if key != "seconds"})
    (folder / "README.md").write_text(card_text(name), encoding="utf-8")


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write ``config.json``."""
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def card_text(name: str) -> str:
    """Return the card of a bundled model, which is loaded by its name instead of from the Hub."""
    about, folder = MODELS[name][0], BUNDLED / name
    model = videozoo.create_model(f"local-dir:{folder}", pretrained=True)
    card = render_card(model, find_source(folder), f"videozoo/{name}").replace(f"hf-hub:videozoo/{name}", name)
    card = card.replace(about.about, f"**{about.about}**", 1)
    return card.replace("## Use\n", f"{about.note}\n\n## Use\n", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, help="folder with the real clips")
    parser.add_argument("--cards", action="store_true", help="only write the cards again")
    parser.add_argument("names", nargs="*", choices=(*MODELS, []), metavar="NAME", help=", ".join(MODELS))
    args = parser.parse_args()
    if args.cards:
        for name in MODELS:
            (BUNDLED / name / "README.md").write_text(card_text(name), encoding="utf-8")
        return
    if args.workdir is None:
        parser.error("WORKDIR is missing; give a folder for the videos and runs, or --cards")
    torch.set_num_threads(1)
    args.workdir.mkdir(parents=True, exist_ok=True)
    for name in args.names or MODELS:
        bundle(name, *train(name, args.workdir, args.data))


if __name__ == "__main__":
    main()
