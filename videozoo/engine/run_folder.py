"""Run folder: its content, the files a continuation needs, and the order of writing."""

import contextlib
import copy
import json
import logging
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videozoo.engine.checkpoint import CONFIG, STATE_TREE, load_train_state, load_weights, save_checkpoint
from videozoo.engine.errors import CheckpointError
from videozoo.engine.metrics import pack_counts
from videozoo.engine.plots import plot_confusion, plot_curves
from videozoo.engine.progress import Progress
from videozoo.engine.results import FitResult, metrics_in, metrics_of, write_results, write_summary
from videozoo.engine.resume import config_dict
from videozoo.files import (
    FolderTaken,
    Lock,
    claim_folder,
    lock_folder,
    recover_folder,
    remove_folder,
    remove_leftovers,
)
from videozoo.fit_config import FitConfig
from videozoo.text import cause, some

_log = logging.getLogger(__name__)
RESULTS = ("best", "summary.csv")  # of finished epochs
_EPOCH = re.compile(r"\.?epoch-([0-9]+)(\..*)?")  # its folder, or what is left of one
LAST = ("last", ".last.old")  # where the last checkpoint is, or is while it is replaced


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run that has done something: a finished epoch, or a kept step of its first."""
    if any((folder / name).exists() for name in RESULTS):
        return True
    last = next((folder / name for name in LAST if (folder / name).exists()), None)
    if last is None:
        return False
    try:
        tree = json.loads((last / STATE_TREE).read_text(encoding="utf-8"))["tree"]
        return bool(tree["history"] or tree["current"]["step"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: nothing of it is overwritten
        return True


def has_checkpoint(folder: Path) -> bool:
    """Return whether there is a ``last``, perhaps between the two renames that put a new one into its place."""
    return any((folder / name / CONFIG).exists() for name in LAST)


@dataclass(frozen=True)
class RunFolder:
    """``last``, ``best``, ``epoch-K``, summary.csv, results.json and the pictures under one path.

    Each file is replaced in one piece. ``best`` and ``epoch-K`` are written before ``last``: a process killed between
    them does the epoch again and writes the same again. What is dropped goes after it. Everything else is derived from
    ``last``'s state.
    """

    path: Path
    class_names: tuple[str, ...]
    model_config: dict[str, Any]

    def hold(self) -> Lock:
        """Lock the folder for this process, and clean up after a killed run.

        The first process does this.

        Raises:
            CheckpointError: another process trains into it, it holds another kind of result, or it cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is a file; give a folder for the run.")
        is_there = self.path.is_dir()
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(lock_folder(self.path))
                claim_folder(self.path, "a training run")
                recover_folder(self.path / "last")
                recover_folder(self.path / "best")
                for number in {int(found[1]) for found in map(_EPOCH.match, os.listdir(self.path)) if found}:
                    recover_folder(self._epoch(number))
                remove_leftovers(self.path.iterdir())
                with tempfile.TemporaryFile(dir=self.path) as file:  # now, not at the next checkpoint
                    file.write(b"0")
            except FolderTaken as error:
                raise CheckpointError(f"{self.path}: {error.strerror}.") from error
            except OSError as error:
                what = "cannot be written to" if is_there else "could not be made"
                kept = "; the run in it is intact" if is_there else ""
                raise CheckpointError(f"{self.path}: {what} ({cause(error)}){kept}.") from error
            stack.pop_all()
        return held

    def open(self, resume: bool) -> dict[str, Any] | None:
        """Return the state to continue from, or None for a new run.

        Nothing is written.

        A run that has kept no step yet may be started again.

        Raises:
            CheckpointError: there is a run and ``resume`` is off, it is damaged or of other classes, or only its
                results are there.
        """
        if holds_run(self.path) and not resume:
            raise CheckpointError(f"{self.path}: already holds a run; resume it, or give another output folder.")
        last = self.path / "last"
        found = [name for name in RESULTS if (self.path / name).exists()]
        if not last.exists() and found:
            raise CheckpointError(
                f"{self.path}: holds results ({', '.join(found)}) and no {last.name} to go on from; start a new run "
                f"from the weights in {self.path / 'best'}, with another output folder."
            )
        if not last.exists() or not resume:
            if resume:
                _log.warning("%s: nothing to resume; a new run starts", self.path)
            return None
        state = load_train_state(last)
        if tuple(state["class_names"]) != self.class_names:
            before, now = state["class_names"], self.class_names
            raise CheckpointError(
                f"{self.path}: its run has {len(before)} classes ({some(before, 5)}), now came {len(now)} "
                f"({some(now, 5)}); resume with the same data, or give another output."
            )
        return state

    def load_net(self, net: nn.Module, state: Mapping[str, Any]) -> None:
        """Load the trained weights into the model.

        Raises:
            CheckpointError: they are another model's.
        """
        weights = state["trained_weights"] or load_weights(self.path / "last")
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path / 'last'}: holds another model than the {type(net).__name__} to be trained; resume with "
                f"the same model and options, or give another output folder. {error}"
            ) from error

    def save_last(
        self, weights: Mapping[str, Tensor], progress: Progress, config: FitConfig, state: Mapping[str, Any]
    ) -> None:
        """Write ``last``: the weights that are evaluated, and all that a continuation needs.

        Args:
            state: what is not in the others: of the optimizer, the loader, ...
        Raises:
            CheckpointError: the disk refused. The ``last`` before is intact.
        """
        whole = {
            "config": config_dict(config),
            "class_names": list(self.class_names),
            "history": [asdict(row) for row in progress.history],
            "best": progress.best,
            "best_confusion": None if progress.best_confusion is None else pack_counts(progress.best_confusion),
            "current": asdict(progress.current),
            **state,
        }
        measured = {}
        for row in progress.history[-1:] if progress.current.step == 0 else ():  # within an epoch nothing is measured
            names = metrics_of(row.val_map is not None)
            measured = {**{name: getattr(row, f"val_{name}") for name in names}, "epoch": row.epoch}
        save_checkpoint(self.path / "last", weights, self._config(measured), whole)

    def save_best(self, weights: Mapping[str, Tensor], results: Mapping[str, Any]) -> None:
        """Write ``best``: weights and config with the metrics.

        Raises:
            CheckpointError: the disk refused. The ``best`` before is intact.
        """
        self._save_measured(self.path / "best", weights, results)

    def save_epoch(self, weights: Mapping[str, Tensor], results: Mapping[str, Any]) -> None:
        """Write ``epoch-K`` as ``best`` is written.

        Raises:
            CheckpointError: the disk refused.
        """
        self._save_measured(self._epoch(results["epoch"]), weights, results)

    def saved_epochs(self) -> set[int]:
        """Return the epochs that have a folder ``epoch-K`` with weights."""
        names = os.listdir(self.path) if self.path.is_dir() else []
        found = {int(match[1]) for match in map(_EPOCH.fullmatch, names) if match and not match[0].startswith(".")}
        return {epoch for epoch in found if (self._epoch(epoch) / CONFIG).is_file()}

    def drop_epochs(self, kept: Collection[int]) -> None:
        """Remove the folders of other epochs.

        A folder goes as a whole, also where the process is killed.
        """
        for epoch in self.saved_epochs() - set(kept):
            try:
                remove_folder(self._epoch(epoch))
            except OSError as error:
                _log.warning("%s: could not be removed (%s)", self._epoch(epoch), cause(error))

    def _epoch(self, number: int) -> Path:
        return self.path / f"epoch-{number}"

    def _save_measured(self, folder: Path, weights: Mapping[str, Tensor], results: Mapping[str, Any]) -> None:
        measured = {name: results[name] for name in (*metrics_in(results), "epoch")}
        save_checkpoint(folder, weights, self._config(measured))

    def write_reports(self, progress: Progress) -> None:
        """Write summary.csv, results.json, curves.png and confusion.png.

        Nothing before the first epoch.

        A multi-label run has no confusion.

        Raises:
            CheckpointError: the disk refused.
        """
        self.write_tables(progress)
        if progress.best is not None:
            plot_curves(self.path / "curves.png", progress.history, progress.best["epoch"])
        if progress.best_confusion is not None:
            plot_confusion(self.path / "confusion.png", progress.best_confusion, self.class_names)

    def write_tables(self, progress: Progress) -> None:
        """Write summary.csv and results.json only: cheap enough for every epoch."""
        write_summary(self.path / "summary.csv", progress.history)
        if progress.best is not None:
            write_results(self.path / "results.json", self._results(progress))

    def result(self, progress: Progress) -> FitResult:
        """Return the result of `fit`."""
        best = self._results(progress)
        return FitResult(self.path, best["epoch"], best, progress.history, progress.stopped_early)

    def _results(self, progress: Progress) -> dict[str, Any]:
        total = sum(row.seconds for row in progress.history)
        run: dict[str, Any] = {
            "epochs": progress.epoch,
            "stopped_early": progress.stopped_early,
            "total_seconds": round(total, 3),
        }
        for row in progress.history[-1:]:
            names = (*metrics_of(row.val_map is not None), "loss")
            run["last"] = {"epoch": row.epoch, **{name: getattr(row, f"val_{name}") for name in names}}
        return {**(progress.best or {}), **run}

    def _config(self, measured: Mapping[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(self.model_config)
        if measured:
            config["pretrained_cfg"] = {**(config.get("pretrained_cfg") or {}), "metrics": dict(measured)}
        return config
