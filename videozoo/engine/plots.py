"""Pictures of a run: curves.png and confusion.png, drawn without a display."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from videozoo.engine.figures import save_figure, short
from videozoo.engine.fonts import number_names
from videozoo.engine.groups import GroupResult
from videozoo.engine.results import EpochRow

NUMBERS_UP_TO = 20  # classes: beyond, the shares no longer fit their cells
NAMES_UP_TO = 60  # classes: beyond, the axes carry class numbers and a list names the worst confusions
TRAIN, VAL, OTHER, FAINT = "#c2571a", "#1f5fa8", "#3a8f5c", "#8a8f98"


def plot_curves(path: Path, history: Sequence[EpochRow], best_epoch: int | None = None) -> None:
    """Draw loss, accuracies and learning rate over the epochs.

    Args:
        best_epoch: counted from 1. Marked by a dashed line.
    Raises:
        ValueError: no epoch to draw.
        CheckpointError: the disk refused.
    """
    if not history:
        raise ValueError("plot_curves: the history is empty; draw after the first epoch.")
    figure = _figure(12.5, 4.2)
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(1, 1.15, 0.8))
    epochs = [row.epoch for row in history]
    style: dict[str, Any] = {"marker": "o", "markersize": 3.5 if len(epochs) <= 40 else 0, "linewidth": 1.8}

    loss.plot(epochs, [row.train_loss for row in history], color=TRAIN, label="training", **style)
    loss.plot(epochs, [row.val_loss for row in history], color=VAL, label="validation", **style)
    loss.set(title="loss", ylim=(0, None))

    lines: list[tuple[str, str, list[Any], dict[str, Any]]] = [
        ("training top-1", TRAIN, [row.train_top1 for row in history], {}),
        ("validation top-1", VAL, [row.val_top1 for row in history], {}),
        ("validation mean-class", OTHER, [row.val_mean_class for row in history], {"linestyle": ":"}),
        ("validation mAP", VAL, [row.val_map for row in history], {}),
    ]
    if any(row.val_top5 is not None and row.val_top5 < 1 for row in history):
        lines.append(("validation top-5", FAINT, [row.val_top5 for row in history], {}))
    for label, color, values, own in lines:
        if values[0] is not None:
            accuracy.plot(epochs, values, color=color, label=label, **style | own)
    is_multi = history[0].val_map is not None
    accuracy.set(title="mean average precision" if is_multi else "accuracy", ylim=(0, 1.02))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))

    rate.plot(epochs, [row.lr for row in history], color=FAINT, **style)
    rate.set(title="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))

    for axes in (loss, accuracy, rate):
        _tidy(axes, epochs)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="#444444", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    best = next((row for row in history if row.epoch == best_epoch), None)
    if best is not None:
        measured = (("top-1", best.val_top1), ("mean-class", best.val_mean_class), ("mAP", best.val_map))
        metrics_text = ", ".join(f"{name} {value:.1%}" for name, value in measured if value is not None)
        figure.suptitle(f"best epoch {best.epoch} of {epochs[-1]} (dashed): validation {metrics_text}", fontsize=11)
    loss.legend(frameon=False, fontsize=9)
    accuracy.legend(frameon=False, fontsize=9, loc="best")
    save_figure(figure, path, dpi=130, margin=None)


def _tidy(axes: Axes, epochs: list[int]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    margin = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    axes.grid(color="#e4e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot_confusion(path: Path, confusion: Tensor, class_names: Sequence[str]) -> None:
    """Draw a confusion matrix, each row as shares of that class's videos.

    Up to 20 classes each cell carries its percentage, up to 60 the axes carry the names. Beyond, the axes carry class
    numbers and a list names the most frequent confusions. Classes without videos are gray. Names whose letters no font
    of this machine has are numbers, with a note.

    Args:
        confusion: counts (C, C), a row per true class.
    Raises:
        ValueError: the names do not fit the matrix.
        CheckpointError: the disk refused.
    """
    counts = confusion.cpu().numpy()
    num_classes = len(class_names)
    if counts.shape != (num_classes, num_classes):
        raise ValueError(
            f"plot_confusion: {counts.shape} counts for {num_classes} names; a square of that size is needed."
        )
    class_names, numbered = number_names(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    if num_classes <= NAMES_UP_TO:
        figure = _named_matrix(shares, totals[:, 0], [short(name, 40) for name in class_names])
    else:
        figure = _numbered_matrix(shares, totals[:, 0], [short(name, 66) for name in class_names])
    hits = counts.trace() / max(counts.sum(), 1)
    title = f"top-1 {hits:.1%} of {counts.sum():,} videos, {num_classes} classes\ncells: % of the true class's videos"
    title += f"\n{numbered}" if numbered else ""
    figure.axes[0].set_title(title, fontsize=11, pad=10)
    save_figure(figure, path, dpi=130, margin=None)


def plot_group(path: Path, title: str, panels: Sequence[tuple[str, GroupResult]]) -> None:
    """Draw the part of the confusion matrix that belongs to a group of classes, for one model or several.

    Cells are shares of the true class's videos. What is missing to 100 % in a row went to classes outside the group,
    the last column. Columns are numbered as the rows are, as names are often long.

    Args:
        panels: what each model is called and its part, side by side.
    Raises:
        CheckpointError: the disk refused.
    """
    first = panels[0][1]
    num_classes = len(first.class_names)
    cell = 0.62 if num_classes <= 6 else 0.46  # inches
    class_names, numbered = number_names(first.class_names)
    names = [fill(short(name, 120), 34) for name in class_names]
    longest = max(len(line) for name in names for line in name.split("\n"))
    height = max(cell, 0.19 * max(name.count("\n") + 1 for name in names)) * num_classes
    width = len(panels) * (cell * (num_classes + 1) + 0.35) + 0.085 * longest + 1.3
    figure = _figure(max(width, 5.2), height + 1.6)
    axes_row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, group) in zip(axes_row, panels, strict=True):
        counts = group.counts.numpy()
        totals = counts.sum(axis=1)
        shares = counts / np.maximum(totals, 1)[:, None]
        _show(axes, shares, totals, aspect="auto")
        _draw_borders(axes, num_classes, num_classes + 1)
        _write_shares(axes, shares)
        axes.axvline(num_classes - 0.5, color="#444444", linewidth=1.5)
        axes.set_xticks(range(num_classes + 1), [*map(str, range(1, num_classes + 1)), "other"], fontsize=9)
        accuracy = "no videos" if group.top1 is None else f"right {group.top1:.1%}, within group {group.within:.1%}"
        axes.set_title("\n".join(filter(None, [short(name, 30), accuracy])), fontsize=10)
    totals = first.counts.sum(dim=1).tolist()
    rows = [f"{name} ({total})  {k}" for k, (name, total) in enumerate(zip(names, totals, strict=True), 1)]
    axes_row[0].set_yticks(range(num_classes), rows, fontsize=9)
    axes_row[0].set_ylabel("true class (videos)")
    figure.supxlabel("predicted class; cells: % of the true class's videos", fontsize=10)
    figure.suptitle("\n".join(filter(None, [short(title, 80), numbered])), fontsize=12)
    save_figure(figure, path, dpi=130, margin=None)


def _named_matrix(shares: np.ndarray, totals: np.ndarray, names: list[str]) -> Figure:
    """Return names on both axes. Numbers in the cells where they fit."""
    num_classes = len(names)
    has_numbers = num_classes <= NUMBERS_UP_TO
    cell = 0.52 if has_numbers else 0.24  # inches
    side = max(3.2, cell * num_classes)
    margin = 0.085 * max(len(name) for name in names) + 0.9
    figure = _figure(side + margin + 0.9, side + margin + 0.4)
    axes = figure.subplots()
    _image(figure, axes, shares, totals)
    fontsize = 9 if has_numbers else 8
    rows = [f"{name}  ({total})" for name, total in zip(names, totals, strict=True)]
    fits = 0.1 * max(len(name) for name in names) < side / num_classes  # inches
    axes.set_xticks(range(num_classes), names, rotation=0 if fits else 90, fontsize=fontsize)
    axes.set_yticks(range(num_classes), rows, fontsize=fontsize)
    _draw_borders(axes, num_classes, num_classes)
    axes.set(xlabel="predicted class", ylabel="true class (videos)")
    if has_numbers:
        _write_shares(axes, shares)
    return figure


def _write_shares(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            color = "white" if share > 0.55 else "#1b2733"
            text = f"{100 * share:.0f}" if share >= 0.005 else "<1"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)


def _draw_borders(axes: Axes, num_rows: int, num_columns: int) -> None:
    axes.set_yticks(np.arange(num_rows + 1) - 0.5, minor=True)
    axes.set_xticks(np.arange(num_columns + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)


def _numbered_matrix(shares: np.ndarray, totals: np.ndarray, names: list[str]) -> Figure:
    """Draw class numbers on the axes, and the most frequent confusions and weakest classes by name next to them."""
    figure = _figure(16.5, 9.6)
    axes, side = figure.subplots(1, 2, width_ratios=(1, 0.72))
    _image(figure, axes, shares, totals, gamma=0.6)  # a single small cell must still be seen
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.set(xlabel="predicted class (number)", ylabel="true class (number)")
    side.axis("off")
    text = _confusion_list(shares, totals, names)
    side.text(0, 1.0, text, va="top", fontsize=8.5, family="monospace", transform=side.transAxes)
    return figure


def _confusion_list(shares: np.ndarray, totals: np.ndarray, names: list[str], longest: int = 20) -> str:
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:longest]
    lines = ["most frequent confusions: share of the true class's videos", ""]
    for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[row, column] > 0:
            lines.append(f"{wrong[row, column]:4.0%}  {row:>3} {names[row]}")
            lines.append(f"   as {column:>3} {names[column]}")
    present = [number for number in range(len(names)) if totals[number]]
    weakest = sorted(present, key=lambda number: shares[number, number])[:10]
    lines += ["", "weakest classes", ""]
    lines += [f"{shares[number, number]:4.0%}  {number:>3} {names[number]}" for number in weakest]
    return "\n".join(lines)


def _image(figure: Figure, axes: Axes, shares: np.ndarray, totals: np.ndarray, gamma: float = 1.0) -> None:
    picture = _show(axes, shares, totals, gamma)
    bar = figure.colorbar(picture, ax=axes, shrink=0.7, aspect=30, pad=0.02, format=PercentFormatter(1.0, decimals=0))
    bar.outline.set_visible(False)  # type: ignore[operator]


def _show(axes: Axes, shares: np.ndarray, totals: np.ndarray, gamma: float = 1.0, **options: Any) -> AxesImage:
    """Draw shares as colors. Classes without videos are gray, and every cell keeps its own color however small."""
    drawn = np.ma.masked_array(shares, np.broadcast_to(totals[:, None] == 0, shares.shape))
    colors = colormaps["Blues"].with_extremes(bad="#dcdee2")
    return axes.imshow(drawn, cmap=colors, norm=PowerNorm(gamma, 0, 1), interpolation="nearest", **options)


def _figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches, with white between its parts."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
