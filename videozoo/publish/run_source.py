"""Find the model folder that the user names, and the recipe and results of its run."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videozoo.engine import CheckpointError, RunRecord, read_evaluation, read_run
from videozoo.hub import WeightsError
from videozoo.text import cause

__all__ = ["Source", "find_source"]

# Settings that describe the training. The other settings of a run are about machines and folders.
_SETTINGS = {
    "epochs": "epochs",
    "opt": "optimizer",
    "lr": "learning rate",
    "layer_decay": "layer decay",
    "weight_decay": "weight decay",
    "sched": "schedule",
    "warmup_epochs": "warm-up epochs",
    "clip_grad": "gradient clipping",
    "smoothing": "label smoothing",
    "multi_label": "several classes per video (binary cross entropy)",
    "bce_loss": "binary cross entropy",
    "bce_target_thresh": "threshold of the targets",
    "grad_accum_steps": "batches per step",
    "amp": "mixed precision",
    "freeze_bn": "frozen norms",
    "model_ema": "averaged weights (EMA)",
    "seed": "seed",
}
_FLAGS = {
    "batch_size": "batch size",
    "drop": "dropout",
    "drop_path": "stochastic depth",
    "train_resize": "training frames",
    "train_crop": "training crop",
    "hflip": "horizontal flip",
    "color_jitter": "color jitter",
    "aa": "RandAugment",
    "mixup": "mixup",
    "cutmix": "cutmix",
    "reprob": "random erasing",
    "balanced_sampling": "balanced sampling",
}


@dataclass(frozen=True)
class Source:
    """Model folder and the run that made it.

    Args:
        folder: has ``config.json`` and ``model.safetensors``.
        run: results of the run, or of an evaluation in the folder; None if there are none.
        recipe: settings of the training, name and value, without paths.
    """

    folder: Path
    run: RunRecord | None = None
    recipe: dict[str, str] = field(default_factory=dict)


def find_source(path: str | Path) -> Source:
    """Return the model of a run folder of ``videozoo finetune``, of its ``best``, or of a model folder.

    A model folder may contain the results that ``videozoo evaluate --output`` wrote into it.

    Raises:
        WeightsError: none of these, or the run is damaged.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise WeightsError("no such folder; give a run of videozoo finetune or a model folder", source=str(path))
    is_run = (path / "best" / "config.json").is_file()
    if not is_run and not (path / "config.json").is_file():
        raise WeightsError(
            "neither a run (best/config.json) nor a model folder (config.json, model.safetensors)", source=str(path)
        )
    folder = path / "best" if is_run else path
    run_folder = folder.resolve().parent
    try:
        if folder.resolve().name == "best" and (run_folder / "results.json").is_file():
            run = read_run(run_folder)
            return Source(folder, run, _recipe(run, _flags(run_folder / "args.json")))
        return Source(folder, read_evaluation(folder) if (folder / "results.json").is_file() else None)
    except CheckpointError as error:
        raise WeightsError(str(error), source=str(path)) from error


def _flags(path: Path) -> dict[str, Any]:
    """Return the flags of the command line that made the run; empty if Python made it."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"not readable ({cause(error)}); remove it to publish without the settings", source=str(path)
        ) from error


def _recipe(run: RunRecord, flags: Mapping[str, Any]) -> dict[str, str]:
    rows = {"start": _start(flags)} if flags else {}
    if flags.get("recipe"):
        is_path = re.search(r"[/\\]|\.ya?ml$", str(flags["recipe"]))
        rows["recipe"] = "a file of the publisher" if is_path else f"{flags['recipe']} of videozoo"
    for names, values in ((_SETTINGS, run.settings), (_FLAGS, flags)):
        rows |= {title: _value(values[name]) for name, title in names.items() if values.get(name) not in (None, False)}
    if "epoch" in run.results:
        rows["best epoch"] = f"{run.results['epoch']}, chosen on the validation videos"
    return rows


def _start(flags: Mapping[str, Any]) -> str:
    """Return the initial weights in words, without a folder of this machine."""
    model, backbone = str(flags.get("model") or ""), flags.get("backbone_weights")
    if flags.get("initial_checkpoint"):
        return "a weights file of the publisher"
    if flags.get("init_from"):
        return f"its base, {_public(flags['init_from'])}"
    if model.startswith("local-dir:"):
        return "weights of an earlier run"
    if flags.get("pretrained") or model.startswith("hf-hub:"):
        return f"weights of {_public(model)}"
    return f"backbone from {_public(backbone)}" if backbone else "trained from scratch"


def _public(name: Any) -> str:
    """Return a public name unchanged, and words instead of a file or folder of this machine."""
    is_path = re.match(r"local-dir:|[~/.]|[A-Za-z]:\\", str(name)) or re.search(
        r"\\|\.(safetensors|pth?|bin)$", str(name)
    )
    is_known = str(name).startswith("hf-hub:") or "/" not in str(name)
    return str(name) if is_known and not is_path else "weights of the publisher"


def _value(value: Any) -> str:
    if value is True:
        return "yes"
    return f"{value:g}" if isinstance(value, float) else str(value)
