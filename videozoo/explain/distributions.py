"""Values of many channels as distributions: the backward attention of ARC, the scales and shifts of DNR."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from videozoo.engine.figures import save_figure
from videozoo.explain.arc_states import ArcStates
from videozoo.explain.figures import leaf, set_title
from videozoo.explain.norm_pairs import NormPairs

__all__ = ["plot_attention", "plot_norms"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLUE, _ORANGE, _GRID = "#1f5fa8", "#c2571a", "#e4e6ea"
_MOST_COLUMNS = 4
_FEW_OF_ALL = 5  # a scale is bent where the widest layer is so many times as wide as the middle one


def plot_attention(path: Path, traces: Sequence[ArcStates], title: str = "") -> None:
    """Draw the backward attention of ARC layers: a panel per layer, in it for each step the spread over channels.

    Values are averaged over frames and positions of the first clip. Every panel has its own scale.

    Raises:
        ValueError: no layer has attention.
        CheckpointError: the disk refused.
    """
    rows = [(trace.layer, trace.attention[0].mean(1).numpy()) for trace in traces if trace.attention is not None]
    if not rows:
        raise ValueError("plot_attention: none of the layers has backward attention (attention=False, or one step).")
    columns = min(_MOST_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.4, 1.75 * lines + 1.5), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel()[len(rows) :]:
        axes.axis("off")
    for axes in grid.ravel()[: len(rows)][-columns:]:
        axes.set_xlabel("step", fontsize=8)
    for axes, (layer, values) in zip(grid.ravel(), rows, strict=False):
        axes.axhline(0, color="#888888", linewidth=0.8, zorder=1)
        _draw_boxes(axes, values, range(2, 2 + len(values)), 0.5, [_BLUE] * len(values), is_upright=True)
        axes.set_title(f"{leaf(layer)} ({values.shape[1]} channels)", fontsize=8.5)
        axes.set_xticks(range(2, 2 + len(values)))
        axes.set_xlim(1.4, 1.6 + len(values))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        _tidy(axes, "y")
    figure.supylabel("attention", fontsize=9)
    _add_legend(figure, _BLUE)
    set_title(
        figure,
        title,
        "ARC: backward attention, added to the state of a step; spread over channels, a scale for each layer",
        longest=80,
    )
    save_figure(figure, path)


def plot_norms(path: Path, pairs: Sequence[NormPairs], title: str = "") -> None:
    """Draw DNR's scales and shifts: of each norm their spread over channels, by group of frames where it has several.

    Left, norms with a relay over time, in them a box per group of frames. Right, norms with one pair for the clip, in
    the order of depth. Where one layer is much wider than the others, the scale is linear near 0 and logarithmic
    beyond. Of the first clip.

    Raises:
        ValueError: no norms.
        CheckpointError: the disk refused.
    """
    over_time = [pair for pair in pairs if pair.relay == "time"]
    over_depth = [pair for pair in pairs if pair.relay != "time"]
    sides = [side for side in (over_time, over_depth) if side]
    if not sides:
        raise ValueError("plot_norms: no norms to draw.")
    heights = [max(0.22, 0.07 * max(len(pair.gamma[0]) for pair in side)) * len(side) for side in sides]
    figure = Figure(figsize=(5.9 * len(sides) + 0.4, 2 * max(1.8, max(heights) + 0.9) + 1.1), layout="constrained")
    grid = figure.subplots(2, len(sides), squeeze=False)
    for line, (key, sign, what) in enumerate((("gamma", r"$\gamma$", "scale"), ("beta", r"$\beta$", "shift"))):
        for axes, side in zip(grid[line], sides, strict=True):
            colors = _draw_norms(axes, side, key, is_timed=side is over_time)
            over = "over time" if side is over_time else "over depth"
            axes.set_title(f"{what} {sign} {over}", fontsize=10)
            if line == 0 and side is over_time:
                _add_groups(axes, colors, side[0].group_frames or 1)
    if any(pair.relay == "none" for pair in over_depth):
        grid[1, -1].set_title(grid[1, -1].get_title() + "   (* without a relay)", fontsize=10)
    _add_legend(figure, "#8a8f98")
    set_title(figure, title, "DNR: the scales and shifts that it predicted, spread over channels", longest=80)
    save_figure(figure, path)


def _draw_norms(axes: Axes, pairs: Sequence[NormPairs], key: str, *, is_timed: bool) -> list[Any]:
    """Draw a row per norm with a box per group of frames. Gives the colors of the groups."""
    values = [getattr(pair, key)[0].numpy() for pair in pairs]
    most = max(len(groups) for groups in values)
    colors = [colormaps["viridis"](0.1 + 0.75 * k / max(1, most - 1)) for k in range(most)] if is_timed else [_ORANGE]
    for row, groups in enumerate(values):
        step = 0.8 / len(groups)
        places = [row - 0.4 + (k + 0.5) * step for k in range(len(groups))]
        _draw_boxes(axes, groups, places, 0.8 * step, colors, is_upright=False)
    axes.set_yticks(range(len(pairs)), [leaf(p.layer) + " *" * (p.relay == "none") for p in pairs], fontsize=8)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    reach = np.array([np.abs(np.quantile(groups, (0.05, 0.95), axis=1)).max() for groups in values])
    middle = float(np.median(reach))
    is_positive = min(float(groups.min()) for groups in values) >= 0
    if not is_positive:
        axes.axvline(0, color="#888888", linewidth=0.8, zorder=1)
    if middle > 0 and reach.max() > _FEW_OF_ALL * middle:
        axes.set_xscale("symlog", linthresh=middle, linscale=1.5)
        ticks = [0.0, middle, float(reach.max())] if is_positive else [-reach.max(), -middle, 0, middle, reach.max()]
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"linear up to {middle:.2g}, logarithmic beyond", fontsize=8)
    _tidy(axes, "x")
    return colors


def _draw_boxes(
    axes: Axes, rows: np.ndarray, places: Sequence[float], width: float, colors: Sequence[Any], *, is_upright: bool
) -> None:
    """Draw a box for each row of values: 25 to 75 % of them, whiskers from 5 to 95 %, a bar at the median."""
    low, lower, middle, upper, high = np.quantile(rows, _QUANTILES, axis=1)
    parts = zip(low, lower, middle, upper, high, strict=True)
    stats = [{"whislo": a, "q1": b, "med": c, "q3": d, "whishi": e, "fliers": []} for a, b, c, d, e in parts]
    drawn = axes.bxp(
        stats,
        positions=list(places),
        widths=width,
        orientation="vertical" if is_upright else "horizontal",
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": "black", "linewidth": 1.2},
    )
    for box, color in zip(drawn["boxes"], colors, strict=False):
        box.set(facecolor=color, edgecolor="none", alpha=0.75)
    for k, whisker in enumerate(drawn["whiskers"]):
        whisker.set(color=colors[k // 2], linewidth=1.2)


def _tidy(axes: Axes, along: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(axis=along, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _add_groups(axes: Axes, colors: Sequence[Any], frames: int) -> None:
    """Say which color belongs to which frames: the first and the last where there are many."""
    shown = range(len(colors)) if len(colors) <= 4 else (0, len(colors) - 1)
    names = [f"frame {k + 1}" if frames == 1 else f"frames {k * frames + 1} to {(k + 1) * frames}" for k in shown]
    handles = [Patch(facecolor=colors[k], alpha=0.75, label=name) for k, name in zip(shown, names, strict=True)]
    axes.legend(handles=handles, fontsize=7, frameon=True, framealpha=0.85, edgecolor="none", loc="best")


def _add_legend(figure: Figure, color: str) -> None:
    box = Patch(facecolor=color, alpha=0.75, label="box: half of the channels (25 to 75 %)")
    bar = Line2D([], [], color="black", linewidth=1.6, label="bar: median")
    line = Line2D([], [], color=color, linewidth=1.2, label="line: 5 to 95 %")
    figure.legend(handles=[box, bar, line], loc="outside lower center", ncols=3, frameon=False, fontsize=8)
