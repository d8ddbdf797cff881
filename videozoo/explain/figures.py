"""Figures of frames: rows of pictures over their times, and a title."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from videozoo.engine.figures import short

__all__ = ["MOST_COLUMNS", "draw_row", "frame_grid", "leaf", "set_title", "shown_frames"]

MOST_COLUMNS = 8


def frame_grid(lines: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """Make a figure for rows of pictures that lie close together, without ticks and borders.

    Args:
        lines, columns: of pictures.
        width, height: of the figure, in inches.
    Returns:
        the figure and its axes, an array (lines, columns).
    """
    figure = Figure(figsize=(width, height), layout="compressed")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0.0, wspace=0.0)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure, grid


def draw_row(row: Any, label: str, pictures: Iterable[Any], names: Sequence[str] = (), **style: Any) -> None:
    """Draw pictures side by side, over their names.

    Args:
        row: axes, at least as many as pictures.
        label: text left of the row.
        pictures: (H, W) or (H, W, 3) each.
        names: a text below each. None where there are none.
        style: as ``imshow`` takes it.
    """
    row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, labelpad=6)
    for place, (axes, picture) in enumerate(zip(row, pictures, strict=False)):
        axes.imshow(np.asarray(picture), **style)
        if names:
            axes.set_xlabel(names[place], fontsize=8, labelpad=3)


def set_title(figure: Figure, title: str, what: str, longest: int = 60) -> None:
    """Write the title over a figure, and below it what is drawn."""
    figure.suptitle(f"{short(title, longest)}\n{what}".strip(), fontsize=11)


def shown_frames(count: int, most: int = MOST_COLUMNS) -> list[int]:
    """Return the frames to draw of ``count`` if at most so many fit: all, or evenly spread ones."""
    if count <= most:
        return list(range(count))
    return [int((k + 0.5) * count / most) for k in range(most)]


def leaf(layer: str) -> str:
    """Return a layer's name without what all of them begin with."""
    return short(layer.removeprefix("backbone."), 40)
