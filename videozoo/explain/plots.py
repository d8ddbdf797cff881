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
from torch import Tensor

from videozoo.engine.figures import save_figure
from videozoo.explain.arc_states import ArcStates
from videozoo.explain.figures import draw_row, frame_grid, leaf, set_title, shown_frames
from videozoo.explain.temporal_parts import Motion, TemporalKernels, flow_colors

__all__ = ["plot_kernels", "plot_motion", "plot_states"]

_CELL = 1.35  # inches: a frame in a row of frames
_SIGNED = "RdBu_r"  # blue: less, red: more; told apart by color-blind readers too


def plot_states(path: Path, trace: ArcStates, frames: Tensor, frame_names: Sequence[str], title: str = "") -> None:
    """Draw how the input state of an ARC layer evolves: its first state, and what each later step has changed.

    Rows are the frames, Z_1, and each state minus the one before it. Z_1 has a scale of its own, the differences share
    one, whose ends are the largest difference (or its 99.5th percentile, where single positions stand out). Of a clip
    with more than eight frames eight are drawn.

    Args:
        trace: of one layer. The first clip is drawn.
        frames: uint8 (T, H, W, 3), or one for each time step.
        frame_names: texts below the frames.
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
        lines, len(shown), _CELL * len(shown) + 2.6, lines * (_CELL * height / width + 0.05) + 1.2
    )
    draw_row(grid[0], "frames", frames[shown], [frame_names[place] for place in shown])
    first = Normalize(float(states[0].min()), max(float(states[0].max()), float(states[0].min()) + 1e-9))
    draw_row(grid[1], "$Z_1$\n(the input)", states[0][shown], cmap="viridis", norm=first)
    bars = [(ScalarMappable(first, "viridis"), grid[1:2], "mean of the channels")]
    changes = np.diff(states, axis=0)
    if len(changes):
        limit = max(float(np.quantile(np.abs(changes), 0.995)), 1e-9)
        norm = Normalize(-limit, limit)
        for step, (row, change) in enumerate(zip(grid[2:], changes, strict=True), 2):
            draw_row(row, f"$Z_{{{step}}} - Z_{{{step - 1}}}$", change[shown], cmap=_SIGNED, norm=norm)
        bars.append((ScalarMappable(norm, _SIGNED), grid[2:], "change, one scale for all steps"))
    for mappable, rows, label in bars:
        bar = figure.colorbar(mappable, ax=rows.ravel().tolist(), aspect=8 * len(rows), shrink=0.9, pad=0.015)
        bar.ax.tick_params(labelsize=8)
        bar.set_label(label, fontsize=8)
    set_title(figure, title, f"ARC, {leaf(trace.layer)}: the input state, and what each step of the recursion changes")
    save_figure(figure, path)


def plot_motion(path: Path, motion: Motion, frames: Tensor, frame_names: Sequence[str], title: str = "") -> None:
    """Draw motion vectors as colors between the frames that they connect, with their confidence.

    Args:
        motion: of one module. The first clip is drawn, of more than eight pairs of frames eight.
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
    colors = flow_colors(vectors).permute(0, 2, 3, 1)
    draw_row(grid[0], "frame", frames[shown], [frame_names[place] for place in shown])
    draw_row(grid[1], "motion to\nthe next", colors[shown], interpolation="nearest")
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    draw_row(grid[2], "confidence\n(white: 1)", confidence[shown], **gray)
    _draw_wheel(grid[1, -1])
    longest = float(vectors.norm(dim=1).max())
    grid[1, -1].set_title("direction", fontsize=9, pad=3)
    text = f"rim: {longest:.1f} pixels,\nthe longest here;\nreach: {motion.reach:.0f} each way"
    grid[2, -1].text(0.5, 1, text, ha="center", va="top", fontsize=8)
    set_title(figure, title, f"motion found by {leaf(motion.layer)}")
    save_figure(figure, path)


def _draw_wheel(axes: Axes) -> None:
    steps = torch.linspace(-1, 1, 101)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    wheel = torch.stack((x, y))
    wheel[:, wheel.norm(dim=0) > 1] = 0
    axes.imshow(flow_colors(wheel).permute(1, 2, 0).numpy())


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
        axes.set_title(leaf(layer.layer).removesuffix(".pre").replace(".conv", "\nconv"), fontsize=8)
    grid[0].set_ylabel("channels, sorted by +1 less -1", fontsize=9)
    figure.supxlabel("frame before, itself, after", fontsize=9)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), "magma"), ax=grid.tolist(), aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    set_title(figure, title, "temporal kernels")
    save_figure(figure, path)
