"""Pictures of what the layers of ARC, DNR, MSN and TANet do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from videozoo.engine.figures import save_figure, short
from videozoo.explain.arc_states import ArcStates
from videozoo.explain.figures import draw_row, frame_grid, set_title, shown_frames
from videozoo.explain.norm_pairs import NormPairs
from videozoo.explain.temporal_parts import Motion, TemporalKernels, flow_colours

__all__ = ["plot_attention", "plot_kernels", "plot_motion", "plot_norms", "plot_states"]

_CELL = 1.35  # inches: a frame in a row of frames
_GAMMA, _BETA = "#1f5fa8", "#c2571a"


def plot_states(path: Path, trace: ArcStates, frames: Tensor, frame_names: Sequence[str], title: str = "") -> None:
    """Draw the evolving states of an ARC layer: a row of frames, and below them a row for each step.

    Every step has its own scale, from its least to its largest value, written beside it. Of a clip
    with more than eight frames eight are drawn.

    Args:
        trace: of one layer; the first clip is drawn.
        frames: uint8 (T, H, W, 3), or one for each time step.
        frame_names: texts above the frames.
    Raises:
        ValueError: a layer on tokens without height and width, or frames of another number.
        CheckpointError: the disk refused.
    """
    states = trace.states[0].numpy()
    if states.ndim != 4 or states.shape[1] != len(frames):
        raise ValueError(
            f"plot_states: {trace.layer} has states {states.shape} for {len(frames)} frames; need (n, T, H, W) with "
            "as many frames."
        )
    shown = shown_frames(len(frames))
    height, width = frames.shape[1:3]
    lines = len(states) + 1
    figure, grid = frame_grid(
        lines, len(shown), _CELL * len(shown) + 1.9, lines * (_CELL * height / width + 0.05) + 0.8
    )
    draw_row(grid[0], "frames", frames[shown], [frame_names[place] for place in shown])
    for step, (row, state) in enumerate(zip(grid[1:], states, strict=True), 1):
        low, high = float(state.min()), float(state.max())
        label = f"$Z_{{{step}}}$\n{low:.3g} to {high:.3g}"
        draw_row(row, label, state[shown], cmap="viridis", vmin=low, vmax=max(high, low + 1e-9))
    set_title(figure, title, f"evolving states of {_leaf(trace.layer)}, mean over channels")
    save_figure(figure, path)


def plot_attention(path: Path, traces: Sequence[ArcStates], title: str = "") -> None:
    """Draw the backward attention of ARC layers: steps by channels, a heat map for each layer.

    Averaged over frames and positions of the first clip; every layer has its own scale, written beside it.

    Raises:
        ValueError: no layer has attention.
        CheckpointError: the disk refused.
    """
    rows = [(trace.layer, trace.attention[0].mean(1).numpy()) for trace in traces if trace.attention is not None]
    if not rows:
        raise ValueError("plot_attention: none of the layers has backward attention (attention=False, or one step).")
    steps = max(len(values) for _, values in rows)
    figure = Figure(figsize=(11, len(rows) * (0.17 * steps + 0.34) + 1.5), layout="constrained")
    grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, (layer, values) in zip(grid, rows, strict=True):
        largest = float(np.abs(values).max())
        limit = max(largest, 1e-12)
        axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(values)), [str(step + 2) for step in range(len(values))], fontsize=7)
        axes.set_ylabel(_leaf(layer), rotation=0, ha="right", va="center", fontsize=8, labelpad=4)
        axes.yaxis.set_tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.tick_params(axis="x", labelsize=7, length=2, pad=1)
        axes.text(1.008, 0.5, f"±{largest:.3g}", transform=axes.transAxes, va="center", fontsize=8)
    grid[-1].set_xlabel("channel of the layer's input", fontsize=9)
    bar = figure.colorbar(ScalarMappable(Normalize(-1, 1), "RdBu_r"), ax=grid.tolist(), shrink=0.5, aspect=30, pad=0.08)
    bar.set_ticks([-1, 0, 1], labels=["-", "0", "+"])
    bar.set_label("± largest of the layer", fontsize=8)
    set_title(figure, title, "backward attention by step (rows) and layer", longest=80)
    save_figure(figure, path)


def plot_norms(path: Path, pairs: Sequence[NormPairs], title: str = "") -> None:
    """Draw DNR's gammas and betas: over groups of frames layer by layer, and over depth.

    Left, norms with a relay over time: the mean over channels of each group's pair. Right, norms with one pair for the
    clip, in the order of depth: median and quantiles (25 to 75 %, 5 to 95 %) over channels. Of the first clip.

    Raises:
        ValueError: no norms.
        CheckpointError: the disk refused.
    """
    over_time = [pair for pair in pairs if pair.relay == "time"]
    over_depth = [pair for pair in pairs if pair.relay != "time"]
    sides = [side for side in (over_time, over_depth) if side]
    if not sides:
        raise ValueError("plot_norms: no norms to draw.")
    most = max(len(side) for side in sides)
    figure = Figure(figsize=(5.6 * len(sides) + 0.6, 2 * max(2.2, 0.2 * most + 0.9) + 0.8), layout="constrained")
    grid = figure.subplots(2, len(sides), squeeze=False)
    for line, (key, sign, colour) in enumerate((("gamma", r"$\gamma$", _GAMMA), ("beta", r"$\beta$", _BETA))):
        for axes, side in zip(grid[line], sides, strict=True):
            if side is over_time:
                _draw_groups(figure, axes, over_time, key, sign)
            else:
                _draw_depth(axes, over_depth, key, sign, colour)
    set_title(figure, title, "scales and shifts that DNR predicted", longest=80)
    save_figure(figure, path)


def _draw_groups(figure: Figure, axes: Axes, pairs: Sequence[NormPairs], key: str, sign: str) -> None:
    most = max(pair.gamma.shape[1] for pair in pairs)
    means = np.full((len(pairs), most), np.nan)
    for row, pair in enumerate(pairs):
        values = getattr(pair, key)[0].mean(1).numpy()
        means[row, : len(values)] = values
    picture = axes.imshow(means, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(pairs)), [_leaf(pair.layer) for pair in pairs], fontsize=8)
    axes.set_xticks(range(most), [str(group + 1) for group in range(most)], fontsize=8)
    length = pairs[0].group_frames
    axes.set_xlabel(f"group of {length} frame{'' if length == 1 else 's'}", fontsize=9)
    axes.set_title(f"{sign} over time, mean over channels", fontsize=10)
    figure.colorbar(picture, ax=axes, aspect=25, pad=0.02).ax.tick_params(labelsize=8)


def _draw_depth(axes: Axes, pairs: Sequence[NormPairs], key: str, sign: str, colour: str) -> None:
    places = np.arange(len(pairs))
    values = [getattr(pair, key)[0, 0].numpy() for pair in pairs]
    low, lower, middle, upper, high = np.array([np.quantile(v, (0.05, 0.25, 0.5, 0.75, 0.95)) for v in values]).T
    axes.fill_betweenx(places, low, high, color=colour, alpha=0.18, linewidth=0, label="5 to 95 %")
    axes.fill_betweenx(places, lower, upper, color=colour, alpha=0.35, linewidth=0, label="25 to 75 %")
    axes.plot(middle, places, color=colour, marker="o", markersize=4, label="median")
    axes.set_yticks(places, [_leaf(p.layer) + ("" if p.relay == "depth" else " *") for p in pairs], fontsize=8)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{sign} over depth, spread over channels", fontsize=10)
    axes.legend(frameon=False, fontsize=7, loc="best")
    if any(pair.relay == "none" for pair in pairs):
        axes.set_xlabel("* one pair for the clip, without a relay", fontsize=8)


def plot_motion(path: Path, motion: Motion, frames: Tensor, frame_names: Sequence[str], title: str = "") -> None:
    """Draw motion vectors as colours between the frames that they connect, with their confidence.

    Args:
        motion: of one module; the first clip is drawn, of more than eight pairs of frames eight.
        frames: uint8 (S, H, W, 3).
        frame_names: S texts.
    Raises:
        ValueError: frames of another number.
        CheckpointError: the disk refused.
    """
    vectors, confidence = motion.vectors[0], motion.confidence[0]
    if len(frames) != len(vectors) + 1:
        raise ValueError(f"plot_motion: {len(frames)} frames for motion between {len(vectors) + 1}; pass as many.")
    shown = shown_frames(len(vectors))
    height, width = frames.shape[1:3]
    figure, grid = frame_grid(3, len(shown) + 1, _CELL * (len(shown) + 1) + 1.6, 3 * _CELL * height / width + 1.0)
    colours = flow_colours(vectors).permute(0, 2, 3, 1)
    draw_row(grid[0], "frame", frames[shown], [frame_names[place] for place in shown])
    draw_row(grid[1], "motion to\nthe next", colours[shown], interpolation="nearest")
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    draw_row(grid[2], "confidence\n(white: 1)", confidence[shown], **gray)
    _draw_wheel(grid[1, -1])
    longest = float(vectors.norm(dim=1).max())
    grid[0, -1].text(0.5, 0, "direction", ha="center", va="bottom", fontsize=9)
    text = f"rim: {longest:.1f} pixels,\nthe longest here;\nreach: {motion.reach:.0f} each way"
    grid[2, -1].text(0.5, 1, text, ha="center", va="top", fontsize=8)
    set_title(figure, title, f"motion found by {_leaf(motion.layer)}")
    save_figure(figure, path)


def _draw_wheel(axes: Axes) -> None:
    steps = torch.linspace(-1, 1, 101)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    wheel = torch.stack((x, y))
    wheel[:, wheel.norm(dim=0) > 1] = 0
    axes.imshow(flow_colours(wheel).permute(1, 2, 0).numpy())


def plot_kernels(path: Path, kernels: Sequence[TemporalKernels], title: str = "") -> None:
    """Draw temporal kernels: a panel for each layer, a line for each channel, from looking back to looking ahead.

    Channels are sorted by the weight of the frame after minus that of the frame before. Of the first clip.

    Raises:
        ValueError: no kernels.
        CheckpointError: the disk refused.
    """
    if not kernels:
        raise ValueError("plot_kernels: no kernels to draw.")
    figure = Figure(figsize=(0.82 * len(kernels) + 1.8, 4.4), layout="constrained")
    grid = figure.subplots(1, len(kernels), squeeze=False)[0]
    for axes, layer in zip(grid, kernels, strict=True):
        taps = layer.kernels[0].numpy()
        order = np.argsort(taps[:, 2] - taps[:, 0], kind="stable")
        axes.imshow(taps[order], cmap="magma", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(3), ["-1", "0", "+1"], fontsize=8)
        axes.set_yticks([0, len(taps) - 1], ["1", str(len(taps))], fontsize=7)
        axes.tick_params(length=0, pad=2)
        axes.set_title(_leaf(layer.layer).removesuffix(".pre").replace(".conv", "\nconv"), fontsize=8)
    grid[0].set_ylabel("channels, sorted by +1 less -1", fontsize=9)
    figure.supxlabel("frame before, itself, after", fontsize=9)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), "magma"), ax=grid.tolist(), aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    set_title(figure, title, "temporal kernels")
    save_figure(figure, path)


def _leaf(layer: str) -> str:
    """A layer's name without what all of them begin with."""
    return short(layer.removeprefix("backbone."), 40)
