"""What a run folder tells about its best weights, for those who publish them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from videozoo.engine.checkpoint import CONFIG, STATE_TENSORS, STATE_TREE
from videozoo.engine.errors import CheckpointError


@dataclass(frozen=True)
class RunRecord:
    """How ``best`` was trained, and what it measured.

    Args:
        results: the content of results.json.
        settings: those of the training, by the names of ``FitConfig``.
        confusion: counts (C, C) of the best epoch, a row per true class; None where the run no longer has them.
        picture: confusion.png, if it is there.
    """

    results: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    confusion: Tensor | None = None
    picture: Path | None = None


def read_run(path: Path) -> RunRecord:
    """Read a run folder's results; of ``last`` only the settings and the confusion, no weights.

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
            f"{path}: best/config.json and results.json tell different results ({', '.join(other)}); a run that was "
            "stopped between the two is put right by finetune --resume."
        )
    picture = path / "confusion.png"
    settings, confusion = _read_state(path / "last")
    return RunRecord(results, settings, confusion, picture if picture.is_file() else None)


def _read_state(last: Path) -> tuple[dict[str, Any], Tensor | None]:
    if not (last / STATE_TREE).is_file():  # only `best` was kept
        return {}, None
    tree = _read_json(last / STATE_TREE).get("tree") or {}
    try:
        with safe_open(last / STATE_TENSORS, framework="pt") as tensors:
            confusion = tensors.get_tensor("best_confusion") if "best_confusion" in tensors.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{last / STATE_TENSORS}: not readable ({error}).") from error
    return dict(tree.get("config") or {}), confusion


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; a run has it after its first epoch.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object.")
    return content
