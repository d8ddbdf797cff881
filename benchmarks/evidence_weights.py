"""Make a folder of weights from the best run of each model on each set of clips.

``python benchmarks/evidence_weights.py --data FOLDER --out WEIGHTS`` reads evidence.csv and the run folders that
evidence.py left. Of the runs of a model, the one with the best validation accuracy is taken. Its weights are stored in
float16 and tested again. If that costs more than 0.1 points, they stay in float32. A folder such as
``arc_tsm_r18.strokes_64px`` has the weights, their config, card, test results, the accuracy of each epoch
(``train.csv``) and the log of the training (``train.log``). ``python scripts/publish_all.py --org ORG WEIGHTS``
publishes all of them.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from evidence import CSV, read_csv
from evidence_runs import COMMON, SETS, Run, lists_of
from pages import write
from safetensors.torch import load_file
from torch import Tensor

import videozoo
from videozoo.hub.write import save_weights
from videozoo.publish import find_source, render_card

MOST_LOST = 0.1
"""Points of top-1 that half precision may cost."""
DATA = {
    "strokes": ("MSR-Action3D, strokes", "38 halves of actions, forth and back, of 10 people, as depth images"),
    "grid_words": ("GRID, words", "51 spoken words, seen from the mouth of one speaker"),
    "hard_motions": ("videozoo's generated hard motions", "20 generated motions that differ in order, count or manner"),
}
NOTE = (
    "Trained in minutes on two CPU cores to compare models, on {clips}. It is of no use on other videos, "
    "but a start for other clips of 64 pixels. The terms of the training clips are not stated by their owners."
)


def best_runs(lines: list[dict[str, str]]) -> list[Run]:
    """Return the run with the best validation accuracy of each model on each set, among equals the first."""
    best: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        key = (line["clips"], line["model"])
        if line["study"] == "models" and float(line["last_val_top1"]) > float(
            best.get(key, {}).get("last_val_top1", -1)
        ):
            best[key] = line
    return [Run("models", clips, model, int(line["split"])) for (clips, model), line in best.items()]


def in_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in float16.

    Raises:
        ValueError: a value is too large for it.
    """
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    large = [name for name, tensor in halves.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if large:
        raise ValueError(f"{', '.join(large)}: too large for float16")
    return halves


def without_paths(log: str, data: Path, runs: Path) -> str:
    """Return a log without the folders of this machine."""
    for path, name in ((data, "DATA"), (runs, "RUNS"), (Path.home(), "~")):
        log = log.replace(str(path.resolve()), name).replace(str(path), name)  # the relative one is a part of the other
    return re.sub(r"[^\s:=]*site-packages/", "", log)


def make(run: Run, data: Path, runs: Path, out: Path) -> str:
    """Write the folder of one run and return a line that reports it."""
    folder, source = out / f"{run.model}_r18.{run.clips}_64px", runs / run.name / "last"
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = json.loads((source / "config.json").read_text())
    title, clips = DATA[run.clips]
    config["pretrained_cfg"] |= {
        "tag": f"{run.clips}_64px",
        "license": "other",
        "dataset": title,
        "description": NOTE.format(clips=clips),
        "train_recipe": f"videozoo finetune {COMMON.format(split=run.split)} {SETS[run.clips]}",
    }
    write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    test = lists_of(run, data, runs)[2]
    expected = json.loads((runs / run.name / "test" / "results.json").read_text())["top1"]
    state = load_file(source / "model.safetensors")
    for tensors in (in_half(state), state):
        save_weights(tensors, folder)
        result = videozoo.evaluate(model=folder, data=test, output=folder, workers=1)
        lost = 100 * (expected - result.top1)
        if lost <= MOST_LOST:
            break
    config["pretrained_cfg"]["metrics"] = {"top1": round(result.top1, 4), "mean_class": round(result.mean_class, 4)}
    write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    shutil.copyfile(runs / run.name / "summary.csv", folder / "train.csv")
    write(folder / "train.log", without_paths((runs / f"{run.name}.log").read_text(), data, runs))
    model = videozoo.create_model(f"local-dir:{folder}", pretrained=True)
    write(folder / "README.md", render_card(model, find_source(folder), f"ORG/{folder.name}"))
    megabytes = (folder / "model.safetensors").stat().st_size / 1e6
    top1 = f"top-1 {100 * result.top1:.2f} ({0.0 - lost:+.2f})"
    return f"{folder.name}: split {run.split}, {top1}, {megabytes:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as for evidence.py")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="as for evidence.py")
    parser.add_argument("--out", type=Path, default=Path("runs/weights"), help="folder for the folders")
    args = parser.parse_args()
    for run in best_runs(read_csv(CSV)):
        print(make(run, args.data, args.runs, args.out), flush=True)


if __name__ == "__main__":
    main()
