"""Records of runs and evaluations, for model cards."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from videozoo.engine.checkpoint import CONFIG, STATE_TENSORS, STATE_TREE, unflatten
from videozoo.engine.errors import CheckpointError
from videozoo.engine.metrics import unpack_counts
from videozoo.text import cause


@dataclass(frozen=True)
class RunRecord:
    """Training settings and results of some weights.

    Args:
        results: the content of results.json.
        settings: those of the training, by the names of ``FitConfig``. None for an evaluation alone.
        confusion: counts (C, C), a row per true class. None where they are not kept.
        picture: confusion.png, if it is there.
    """

    results: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    confusion: Tensor | None = None
    picture: Path | None = None


def read_run(path: Path) -> RunRecord:
    """Read a run folder's results.

    Of ``last`` only the settings and the confusion, no weights.

    Raises:
        CheckpointError: the run has not finished an epoch, a file is damaged, or ``best`` is of another epoch than the
            results, as a killed run leaves it.
    """
    results = _read_json(path / "results.json")
    measured = (_read_json(path / "best" / CONFIG).get("pretrained_cfg") or {}).get("metrics") or {}
    other = [
        f"{name} {measured[name]} and {results.get(name)}" for name in measured if measured[name] != results.get(name)
    ]
    if other:
        raise CheckpointError(
            f"{path}: best/config.json and results.json disagree ({', '.join(other)}); a run that was "
            "stopped between the two is repaired by finetune --resume."
        )
    picture = path / "confusion.png"
    settings, confusion = _read_state(path / "last")
    return RunRecord(results, settings, confusion, picture if picture.is_file() else None)


def read_evaluation(folder: Path) -> RunRecord:
    """Read the results of ``videozoo evaluate --output``: results.json, with confusion.csv or a ``confusion`` in it.

    Raises:
        CheckpointError: a file is damaged, the clips were played backwards, or it is an ensemble.
    """
    results = _read_json(folder / "results.json")
    if results.get("is_reversed"):
        raise CheckpointError(f"{folder / 'results.json'}: of clips played backwards; evaluate without --reverse.")
    if results.get("models"):
        raise CheckpointError(f"{folder / 'results.json'}: results of an ensemble; evaluate this model alone.")
    try:
        counts = results.pop("confusion", None) or _read_counts(folder / "confusion.csv", results["class_names"])
        confusion = None if counts is None else torch.tensor(counts, dtype=torch.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: results.json and confusion.csv do not go together ({cause(error)})."
        ) from error
    picture = folder / "confusion.png"
    return RunRecord(results, {}, confusion, picture if picture.is_file() else None)


def _read_counts(path: Path, class_names: list[str]) -> list[list[int]] | None:
    """Return the rows of a confusion.csv, or None if there is none."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    if head[1:] != class_names or [row[0] for row in rows] != class_names:
        raise ValueError("they name other classes")
    return [[int(count) for count in row[1:]] for row in rows]


def _read_state(last: Path) -> tuple[dict[str, Any], Tensor | None]:
    if not (last / STATE_TREE).is_file():  # only `best` was kept
        return {}, None
    tree = _read_json(last / STATE_TREE).get("tree") or {}
    try:
        with safe_open(last / STATE_TENSORS, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.split(".")[0] == "best_confusion"]  # noqa: SIM118
            found = {name: tensors.get_tensor(name) for name in names}
        confusion = unpack_counts(unflatten(tree.get("best_confusion"), found))
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{last / STATE_TENSORS}: not readable ({cause(error)}).") from error
    return dict(tree.get("config") or {}), confusion


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; a run has it after its first epoch.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable ({cause(error)}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object.")
    return content
