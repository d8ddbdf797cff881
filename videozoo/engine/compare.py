"""Comparison of runs and evaluations: rows from their folders, and their curves in one picture."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from videozoo.engine.errors import EngineError
from videozoo.engine.figures import save_figure, short
from videozoo.engine.metrics import wilson_interval
from videozoo.engine.results import EpochRow
from videozoo.text import cause, some

__all__ = ["ComparedRun", "describe_differences", "name_runs", "plot_runs", "read_compared"]

# Told apart by color-blind readers (Okabe and Ito); beyond eight runs the lines are dashed.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8f98")
_DASHES = ("-", "--", ":", "-.")
# Settings that choose the validation videos where they are a part of the training set.
_SPLIT_OFF = ("data", "split", "val_frac", "val_group")


@dataclass(frozen=True)
class ComparedRun:
    """Run folder, or folder of an evaluation.

    Args:
        folder: where it is.
        results: the content of results.json: of the best epoch, or of the evaluation.
        settings: of the training, as args.json has them. None for an evaluation.
        history: a row per finished epoch. None for an evaluation.
    """

    folder: Path
    results: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[EpochRow, ...] = ()

    @property
    def metric(self) -> str:
        """``top1``, or ``map`` of a multi-label run."""
        return "map" if self.results.get("top1") is None and self.results.get("map") is not None else "top1"

    @property
    def counts(self) -> tuple[int, int] | None:
        """Numbers of correct and of labeled videos.

        None for mAP.
        """
        top1, total = self.results.get("top1"), self.results.get("num_labelled")
        return (round(top1 * total), total) if top1 is not None and total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of top-1.

        None for mAP.
        """
        return wilson_interval(*self.counts) if self.counts else None

    def row_value(self, row: EpochRow) -> float | None:
        """Return an epoch's value of `metric`."""
        return row.val_map if self.metric == "map" else row.val_top1

    @property
    def is_unfinished(self) -> bool:
        """Return whether epochs of the training are missing."""
        epochs = self.settings.get("epochs")
        return len(self.history) < (epochs or 0) and not self.results.get("stopped_early")

    @property
    def validation(self) -> tuple[Any, ...]:
        """Return a key of the validation set: the source of its videos, their number, their classes."""
        settings = self.settings
        if not settings:
            source: list[Any] = [self.results.get("data"), None]
        elif settings.get("val"):
            source = [settings["val"], settings.get("val_split")]
        else:
            source = [settings.get(key) for key in _SPLIT_OFF]
        path = os.path.abspath(os.path.expanduser(str(source[0])))
        count = (self.results.get("num_videos") or 0) + (self.results.get("num_unread") or 0)
        return (path, *source[1:], count, tuple(self.results.get("class_names", ())))


def read_compared(folder: Path) -> ComparedRun:
    """Read the folder of a run (or its ``best`` or ``last``), or of an evaluation.

    Raises:
        EngineError: no such folder, nothing is finished in it, or a file is damaged.
    """
    if folder.name in ("best", "last") and (folder.parent / "args.json").exists():
        folder = folder.parent
    if not folder.is_dir():
        raise EngineError(f"{folder}: no such folder; give run folders of finetune, or folders of evaluate --output.")
    is_run = any((folder / name).exists() for name in ("args.json", "summary.csv", "last"))
    if not (folder / "results.json").is_file():
        what = "its run has not finished an epoch" if is_run else "no results.json in it: not a run or an evaluation"
        raise EngineError(f"{folder}: {what}.")
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        history = _read_history(folder / "summary.csv") if is_run else ()
        args = json.loads((folder / "args.json").read_text(encoding="utf-8")) if is_run else {"settings": {}}
        run = ComparedRun(folder, dict(results), dict(args["settings"]), history)
        _check(run, is_run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{folder}: its files are damaged or do not fit together ({cause(error)}).") from error
    return run


def _check(run: ComparedRun, is_run: bool) -> None:
    """Read all values of a comparison once, so that a folder with invalid values is left out.

    Raises:
        ValueError, TypeError: a value is missing or of another kind.
    """
    if not _is_number(run.results.get(run.metric)) or (is_run and not run.history):
        raise ValueError("results.json or summary.csv has no measured epoch")
    if not isinstance(run.results["class_names"], list):
        raise TypeError("results.json: class_names is no list")
    counts = ("epoch", "num_labelled", "num_videos", "num_unread", "total_seconds", "seconds")
    for file, values, names in (("results.json", run.results, counts), ("args.json", run.settings, ("epochs", "lr"))):
        for name in names:
            if values.get(name) is not None and not _is_number(values[name]):
                raise TypeError(f"{file}: {name} is {values[name]!r}, no number")
    _ = run.interval, run.is_unfinished, hash(run.validation)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_history(path: Path) -> tuple[EpochRow, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [entry.name for entry in fields(EpochRow)]
    history = []
    for row in rows:
        values: dict[str, Any] = {name: float(row[name]) if row.get(name) else None for name in names}
        history.append(EpochRow(**values | {"epoch": int(row["epoch"])}))
    return tuple(history)


def name_runs(runs: Sequence[ComparedRun]) -> list[str]:
    """Return short names: those of the folders, with as many folders above them as tell them apart."""
    for depth in range(1, 1 + max((len(run.folder.parts) for run in runs), default=0)):
        names = ["/".join(run.folder.parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def describe_differences(runs: Sequence[ComparedRun], names: Sequence[str]) -> list[str]:
    """Return what a reader of a comparison must know: other validation sets, epochs that are missing, other metrics."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        groups.setdefault(run.validation, []).append(name)
    notes = []
    if len(groups) > 1:
        parts = [f"{some(members, 4)}: {len(key[-1])} classes, {key[-2]} videos" for key, members in groups.items()]
        notes.append(f"measured on {len(groups)} different sets of videos, so not comparable ({'; '.join(parts)})")
    for run, name in zip(runs, names, strict=True):
        if run.is_unfinished:
            notes.append(f"{name}: not finished, {len(run.history)} of {run.settings['epochs']} epochs")
    if len({run.metric for run in runs}) > 1:
        notes.append("some are multi-label (mAP) and some are not (top-1); the two are not comparable")
    return notes


def plot_runs(path: Path, runs: Sequence[ComparedRun], names: Sequence[str]) -> None:
    """Draw the validation accuracy and the losses over the epochs, and each best with its 95 % interval.

    Raises:
        ValueError: no runs.
        CheckpointError: the disk refused.
    """
    if not runs:
        raise ValueError("plot_runs: no runs to draw.")
    height = max(3.6, 0.27 * len(runs) + 1.4)
    figure = Figure(figsize=(13, height), layout="constrained")
    metrics = {run.metric for run in runs}
    what = {"top1": "top-1", "map": "mAP"}[metrics.pop()] if len(metrics) == 1 else "top-1 or mAP"
    accuracy, loss, best = figure.subplots(1, 3, width_ratios=(1.1, 1, 0.9))
    for k, run in enumerate(runs):
        color, dash = _COLORS[k % len(_COLORS)], _DASHES[k // len(_COLORS) % len(_DASHES)]
        epochs = [row.epoch for row in run.history]
        style: dict[str, Any] = {"color": color, "marker": "o", "markersize": 3 if len(epochs) <= 40 else 0}
        values = [run.row_value(row) for row in run.history]
        accuracy.plot(epochs, [float("nan") if value is None else value for value in values], dash, **style)
        loss.plot(epochs, [row.val_loss for row in run.history], dash, **style)
        loss.plot(epochs, [row.train_loss for row in run.history], ":", color=color, linewidth=1)
        value, interval = float(run.results[run.metric]), run.interval
        spread = [[value - interval[0]], [interval[1] - value]] if interval else None
        best.errorbar(value, k, xerr=spread, fmt="o", color=color, capsize=3)
        text = f"{value:.1%}" + (" of {1} videos".format(*run.counts) if run.counts else "")
        best.annotate(text, (value, k), (0, 6), textcoords="offset points", ha="center", fontsize=7.5)
    accuracy.set_title(f"validation {what}", fontsize=10)
    accuracy.set_ylim(0, 1.02)
    loss.set_title("loss: validation, and training (dotted)", fontsize=10)
    loss.set_ylim(0, None)
    best.set_title(f"best {what} and 95 % interval", fontsize=10)
    best.set_yticks(range(len(runs)), [short(name, 36) for name in names], fontsize=8)
    best.set_ylim(len(runs) - 0.4, -0.7)
    best.set_xlim(0, 1.14)  # what is written beside 100 % fits
    best.set_xticks([0, 0.25, 0.5, 0.75, 1])
    best.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for axes in (accuracy, loss, best):
        _tidy(axes, is_over_epochs=axes is not best)
    save_figure(figure, path, dpi=130, margin=None)


def _tidy(axes: Axes, *, is_over_epochs: bool) -> None:
    axes.grid(color="#e4e6ea", linewidth=0.8, axis="both" if is_over_epochs else "x")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if is_over_epochs:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
