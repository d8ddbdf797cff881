"""The run folder: what lies where in it, what a continuation needs, and in which order it is written."""

import copy
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timm.utils import ModelEmaV3
from torch import Tensor, nn

from videozoo.engine.checkpoint import load_train_state, load_weights, save_checkpoint
from videozoo.engine.config import FREE_ON_RESUME, FitConfig
from videozoo.engine.errors import CheckpointError
from videozoo.engine.plots import plot_confusion, plot_curves
from videozoo.engine.progress import EpochState, Progress
from videozoo.engine.results import EpochRow, FitResult, write_results, write_summary
from videozoo.files import recover_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """``last``, ``best``, summary.csv, results.json and the pictures under one path.

    Each file is replaced in one piece. ``best`` is written before ``last``: a process killed between the two does the
    epoch again and writes the same ``best`` again. Everything else is derived from ``last``'s state.
    """

    path: Path
    class_names: tuple[str, ...]
    model_config: dict[str, Any]

    def open(self, resume: bool, is_main: bool = True) -> dict[str, Any] | None:
        """Give the state to continue from, or None for a new run.

        Args:
            is_main: whether to put in order what a killed run has left; of several processes the first one does, first.
        Raises:
            CheckpointError: there is a run and ``resume`` is off, or it is damaged or of other classes.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is a file; give a folder for the run.")
        last = self.path / "last"
        try:
            if is_main:
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
        if is_main:
            self._try_writing()
        if tuple(state["class_names"]) != self.class_names:
            raise CheckpointError(
                f"{self.path}: its run has {len(state['class_names'])} classes {_few(state['class_names'])}, now came "
                f"{len(self.class_names)} {_few(self.class_names)}; resume with the same data, or give another output."
            )
        return state

    def _try_writing(self) -> None:
        """Find out now, not at the next checkpoint."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"0")
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written to ({error}); the run in it is intact.") from error

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

    def load_averaged(self, ema: ModelEmaV3) -> None:
        """Load the averaged weights, which ``last`` holds where there are any."""
        ema.module.load_state_dict(load_weights(self.path / "last"))

    def restore(self, state: Mapping[str, Any], config: FitConfig, layout: Mapping[str, Any]) -> Progress:
        """Give the progress of the run to be continued.

        Args:
            layout: of the training loader; within an epoch it must be the run's.
        Raises:
            CheckpointError: the settings are not those of the run.
        """
        then, now = state["config"], _config_dict(config)
        changed = [name for name in now if then.get(name) != now[name] and name not in FREE_ON_RESUME]
        if changed:
            told = "; ".join(f"{name} was {then.get(name)!r}, is {now[name]!r}" for name in changed)
            raise CheckpointError(
                f"{self.path}: resumed with other settings ({told}); resume with the same ones, or start a new run "
                "from the weights in it."
            )
        current = EpochState(**state["current"])
        was = state["layout"]
        moved = [f"{name} {was.get(name)}, now {value}" for name, value in layout.items() if was.get(name) != value]
        if current.step and moved:
            raise CheckpointError(
                f"{self.path}: stopped within an epoch, after step {current.step}, whose batches were others: "
                f"{'; '.join(moved)}. Resume with the same training videos, and a batch size and number of processes "
                "that make the same batch together."
            )
        if then["epochs"] != now["epochs"]:
            _log.warning("epochs was %s, is %s: the schedule is stretched anew", then["epochs"], now["epochs"])
        history = tuple(EpochRow(**row) for row in state["history"])
        return Progress(history, state["best"], state["best_confusion"], current)

    def save_last(
        self, weights: Mapping[str, Tensor], progress: Progress, config: FitConfig, state: Mapping[str, Any]
    ) -> None:
        """Write ``last``: the weights that are evaluated, and all that a continuation needs.

        Args:
            state: what is not in the others: of the optimiser, the loader, ...
        Raises:
            CheckpointError: the disk refused; the ``last`` before is intact.
        """
        whole = {
            "config": _config_dict(config),
            "class_names": list(self.class_names),
            "history": [asdict(row) for row in progress.history],
            "best": progress.best,
            "best_confusion": progress.best_confusion,
            "current": asdict(progress.current),
            **state,
        }
        measured = {}
        for row in progress.history[-1:] if progress.current.step == 0 else ():  # within an epoch nothing is measured
            measured = {
                "top1": row.val_top1,
                "top5": row.val_top5,
                "mean_class": row.val_mean_class,
                "epoch": row.epoch,
            }
        save_checkpoint(self.path / "last", weights, self._config(measured), whole)

    def save_best(self, weights: Mapping[str, Tensor], results: Mapping[str, Any]) -> None:
        """Write ``best``: weights and config with the metrics.

        Raises:
            CheckpointError: the disk refused; the ``best`` before is intact.
        """
        measured = {name: results[name] for name in ("top1", "top5", "mean_class", "epoch")}
        save_checkpoint(self.path / "best", weights, self._config(measured))

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
        return FitResult(self.path, best["epoch"], best, progress.history, progress.stopped_early)

    def _results(self, progress: Progress) -> dict[str, Any]:
        total = sum(row.seconds for row in progress.history)
        run = {"epochs": progress.epoch, "stopped_early": progress.stopped_early, "total_seconds": round(total, 3)}
        return {**(progress.best or {}), **run}

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
