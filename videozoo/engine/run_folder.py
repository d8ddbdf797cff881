"""The run folder: what lies where in it, what a continuation needs, and in which order it is written."""

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from videozoo.engine.checkpoint import load_train_state, load_weights, recover_folder, save_checkpoint
from videozoo.engine.config import FREE_ON_RESUME, FitConfig
from videozoo.engine.errors import CheckpointError
from videozoo.engine.plots import plot_confusion, plot_curves
from videozoo.engine.results import EpochRow, FitResult, write_results, write_summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        history: a row per finished epoch.
        best: the content of results.json: the best epoch's evaluation, with its ``epoch``.
        best_confusion: counts (C, C) of the best epoch.
    """

    history: tuple[EpochRow, ...] = ()
    best: dict[str, Any] | None = None
    best_confusion: Tensor | None = None

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    def add(self, row: EpochRow, results: dict[str, Any], confusion: Tensor, metric: str) -> "Progress":
        """The progress after one more epoch; its evaluation becomes the best if the metric says so."""
        history = (*self.history, row)
        if self.best is None or _merit(results, metric) > _merit(self.best, metric):
            return Progress(history, results, confusion)
        return Progress(history, self.best, self.best_confusion)


def _merit(results: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """The metric, then the lower loss; an equal epoch does not replace an earlier one."""
    return results[metric], -results["loss"]


@dataclass(frozen=True)
class RunFolder:
    """``last``, ``best``, summary.csv, results.json and the pictures under one path.

    Each file is replaced in one piece. ``best`` is written before ``last``: a process killed between the two does the
    epoch again and writes the same ``best`` again. Everything else is derived from ``last``'s state.
    """

    path: Path
    class_names: tuple[str, ...]
    model_config: dict[str, Any]

    def open(self, resume: bool) -> dict[str, Any] | None:
        """Give the state to continue from, or None for a new run.

        Raises:
            CheckpointError: there is a run and ``resume`` is off, or it is damaged or of other classes.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is a file; give a folder for the run.")
        last = self.path / "last"
        try:
            recover_folder(last)
            recover_folder(self.path / "best")
        except OSError as error:
            raise CheckpointError(f"{last}: could not be put in order ({error}); make {self.path} writable.") from error
        has_run = any((self.path / name).exists() for name in ("last", "best", "summary.csv"))
        if has_run and not resume:
            raise CheckpointError(f"{self.path}: already holds a run; resume it, or give another output folder.")
        if not last.exists():
            if resume:
                _log.warning("%s: nothing to resume; a new run starts", self.path)
            return None
        state = load_train_state(last)
        if tuple(state["class_names"]) != self.class_names:
            raise CheckpointError(
                f"{self.path}: its run has {len(state['class_names'])} classes {_few(state['class_names'])}, now came "
                f"{len(self.class_names)} {_few(self.class_names)}; resume with the same data, or give another output."
            )
        return state

    def load_net(self, net: nn.Module, state: Mapping[str, Any]) -> None:
        """Load the trained weights into the network.

        Raises:
            CheckpointError: they are another network's.
        """
        weights = state["trained_weights"] or load_weights(self.path / "last")
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path / 'last'}: holds another network than the {type(net).__name__} to be trained; resume with "
                f"the same model and options, or give another output folder. {error}"
            ) from error

    def restore(
        self,
        state: Mapping[str, Any],
        config: FitConfig,
        optimizer: torch.optim.Optimizer,
        scaler: Any,
        ema: ModelEmaV3 | None,
    ) -> Progress:
        """Load the optimiser, the loss scaler and the averaged weights; give the progress.

        Raises:
            CheckpointError: the settings are not those of the run.
        """
        then, now = state["config"], _config_dict(config)
        changed = [f"{name} was {then.get(name)!r}, is {now[name]!r}" for name in now if then.get(name) != now[name]]
        changed = [text for text in changed if text.split(" ")[0] not in FREE_ON_RESUME]
        if changed:
            raise CheckpointError(
                f"{self.path}: resumed with other settings ({'; '.join(changed)}); resume with the same ones, or start "
                "a new run from the weights in it."
            )
        optimizer.load_state_dict(state["optimizer"])
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        if ema is not None:
            ema.module.load_state_dict(load_weights(self.path / "last"))
        if then["epochs"] != now["epochs"]:
            _log.warning("epochs was %s, is %s: the schedule is stretched anew", then["epochs"], now["epochs"])
        history = tuple(EpochRow(**row) for row in state["history"])
        return Progress(history, state["best"], state["best_confusion"])

    def save_last(
        self,
        progress: Progress,
        config: FitConfig,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: Any,
        ema: ModelEmaV3 | None,
    ) -> None:
        """Write ``last``: the weights that are evaluated, and all that a continuation needs.

        Raises:
            CheckpointError: the disk refused; the ``last`` before is intact.
        """
        state = {
            "config": _config_dict(config),
            "class_names": list(self.class_names),
            "history": [asdict(row) for row in progress.history],
            "best": progress.best,
            "best_confusion": progress.best_confusion,
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            # Without averaging model.safetensors holds them already.
            "trained_weights": None if ema is None else dict(net.state_dict()),
        }
        measured = {}
        for row in progress.history[-1:]:
            measured = {
                "top1": row.val_top1,
                "top5": row.val_top5,
                "mean_class": row.val_mean_class,
                "epoch": row.epoch,
            }
        kept = net if ema is None else ema.module
        save_checkpoint(self.path / "last", kept.state_dict(), self._config(measured), state)

    def save_best(self, measured_net: nn.Module, results: Mapping[str, Any]) -> None:
        """Write ``best``: weights and config with the metrics.

        Raises:
            CheckpointError: the disk refused; the ``best`` before is intact.
        """
        measured = {name: results[name] for name in ("top1", "top5", "mean_class", "epoch")}
        save_checkpoint(self.path / "best", measured_net.state_dict(), self._config(measured))

    def write_reports(self, progress: Progress) -> None:
        """Write summary.csv, results.json, curves.png and confusion.png; nothing before the first epoch.

        Raises:
            CheckpointError: the disk refused.
        """
        self.write_tables(progress)
        if progress.best is not None and progress.best_confusion is not None:
            plot_curves(self.path / "curves.png", progress.history, progress.best["epoch"])
            plot_confusion(self.path / "confusion.png", progress.best_confusion, self.class_names)

    def write_tables(self, progress: Progress) -> None:
        """Write summary.csv and results.json only: cheap enough for every epoch."""
        write_summary(self.path / "summary.csv", progress.history)
        if progress.best is not None:
            write_results(self.path / "results.json", self._results(progress))

    def result(self, progress: Progress) -> FitResult:
        """What `fit` gives back."""
        best = self._results(progress)
        return FitResult(self.path, best["epoch"], best, progress.history)

    def _results(self, progress: Progress) -> dict[str, Any]:
        total = sum(row.seconds for row in progress.history)
        return {**(progress.best or {}), "epochs": progress.epoch, "total_seconds": round(total, 3)}

    def _config(self, measured: Mapping[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(self.model_config)
        if measured:
            config["pretrained_cfg"] = {**(config.get("pretrained_cfg") or {}), "metrics": dict(measured)}
        return config


def _config_dict(config: FitConfig) -> dict[str, Any]:
    """As JSON gives it back, so that the two compare equal."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def _few(names: Any, longest: int = 5) -> str:
    return "(" + ", ".join(list(names)[:longest]) + (", ..." if len(names) > longest else "") + ")"
