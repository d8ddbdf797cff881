"""Settings that may differ between a run and its continuation."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from videozoo.choices import FREE_ON_RESUME
from videozoo.engine.errors import CheckpointError
from videozoo.engine.metrics import unpack_counts
from videozoo.engine.progress import EpochState, Progress
from videozoo.engine.results import EpochRow
from videozoo.fit_config import FitConfig

_log = logging.getLogger(__name__)


def restore_progress(
    path: Path, state: Mapping[str, Any], config: FitConfig, layout: Mapping[str, Any], names_digest: str | None = None
) -> Progress:
    """Return the progress of the run to be continued.

    Args:
        path: the run folder, named in the errors.
        state: what `load_train_state` gives.
        layout: of the training loader: the steps must be of as many clips as the run's, within an epoch of the
            very same. Batch size, batches a step and number of processes may change.
        names_digest: of the names of the training videos, where they have names.
    Raises:
        CheckpointError: the settings are not those of the run.
    """
    now = config_dict(config)
    then = {**config_dict(FitConfig()), **state["config"]}  # of a version that had fewer settings
    free = FREE_ON_RESUME | ({"grad_accum_steps"} if layout["clips a step"] is not None else set())
    changed = [name for name in now if then.get(name) != now[name] and name not in free]
    if changed:
        changes = "; ".join(f"{name} was {then.get(name)!r}, is {now[name]!r}" for name in changed)
        raise CheckpointError(
            f"{path}: resumed with other settings ({changes}); resume with the same ones, or start a new run "
            "from the weights in it."
        )
    current, then_layout = EpochState(**state["current"]), _layout_of(state)
    _check_layout(path, then_layout, layout, current.step)
    is_other = names_digest is not None and state.get("names_digest") not in (None, names_digest)
    if is_other or then_layout["training videos"] != layout["training videos"]:
        _log.warning(
            "%s: the training set is not the one that the run has seen so far (%s videos then, %s now); it goes on "
            "with the new one", path, then_layout["training videos"], layout["training videos"]
        )  # fmt: skip
    if then["epochs"] != now["epochs"]:
        _log.warning("epochs was %s, is %s: the schedule is stretched again", then["epochs"], now["epochs"])
    history = tuple(EpochRow(**row) for row in state["history"])
    return Progress(history, state["best"], unpack_counts(state["best_confusion"]), current)


def _check_layout(path: Path, was: Mapping[str, Any], now: Mapping[str, Any], step: int) -> None:
    """Refuse other steps: other clips within an epoch, or another number of clips because of other settings."""
    moved = [f"{name} {was.get(name)}, now {value}" for name, value in now.items() if was.get(name) != value]
    free = ("batch size", "batches a step")
    moved = [text for text in moved if not text.startswith(free)]
    if step and moved:
        raise CheckpointError(
            f"{path}: stopped within an epoch, after step {step}, whose steps were others: "
            f"{'; '.join(moved)}. Resume with the same training videos, and a batch size, batches a step and "
            "number of processes that make as many clips a step together."
        )
    is_other_batch = any(was.get(name) not in (None, now[name]) for name in free)
    if is_other_batch and was["clips a step"] != now["clips a step"]:
        raise CheckpointError(
            f"{path}: was trained with {was['clips a step']} clips per step, now there would be "
            f"{now['clips a step']}. Choose a batch size and batches per step that give as many (batch size x "
            "batches per step x processes), or start a new run from the weights in it."
        )


def config_dict(config: FitConfig) -> dict[str, Any]:
    """Return the settings as JSON returns them, so that the two compare equal."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def digest_names(names: Sequence[str]) -> str:
    """Return a SHA-256 of the names of the training videos, in their order."""
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _layout_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layout that a run was saved with, also by earlier versions, which counted the batches of a process."""
    layout = dict(state["layout"])
    if "clips a step" not in layout:
        together, batches = layout.get("clips in the processes' batches"), layout.get("batches of a process")
        accum = state["config"]["grad_accum_steps"]
        layout["batches a step"] = accum
        layout["clips a step"] = None if together is None else together * accum
        layout["steps of an epoch"] = None if batches is None else -(-batches // accum)
    return layout
