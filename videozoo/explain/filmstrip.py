"""Class maps as pictures: a filmstrip, and a moving picture with one panel for each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor

from videozoo.engine.figures import save_figure, short
from videozoo.explain.figures import MOST_COLUMNS, draw_row, frame_grid
from videozoo.explain.overlays import HEAT, join_panels, overlay_maps, write_animation

__all__ = ["FilmRow", "animate_cam", "plot_cam"]


@dataclass(frozen=True)
class FilmRow:
    """The maps of one model for the frames that it saw.

    Args:
        title: what the model is called.
        subtitle: the class that is explained, and how sure the model is. A second line is left out of animations.
        frames: uint8 RGB (N, H, W, 3), as the model saw them.
        maps: float (N, h, w) in [0, 1].
    """

    title: str
    subtitle: str
    frames: Tensor
    maps: Tensor


def plot_cam(path: Path, rows: Sequence[FilmRow], frame_names: Sequence[str], title: str = "") -> None:
    """Draw a filmstrip: the frames of the first model, below them each model's maps laid over its frames.

    Longer clips go on below, eight frames at a time.

    Args:
        rows: one for each model, all with the same number of frames N.
        frame_names: N texts to stand below the frames, of one line or two.
        title: of the whole picture, of one line or two.
    Raises:
        ValueError: rows or names of other lengths.
        CheckpointError: the disk refused.
    """
    count = _check(rows, frame_names)
    columns = min(count, MOST_COLUMNS)
    bands = -(-count // columns)
    height, width = rows[0].frames.shape[1:3]
    cell = 1.45  # inches
    lines = len(rows) + 1
    figure, grid = frame_grid(
        bands * lines, columns, columns * cell + 2.6, bands * (lines * (cell * height / width + 0.06) + 0.45) + 0.8
    )
    clips = [("frames", rows[0].frames), *((_label(row), overlay_maps(row.frames, row.maps)) for row in rows)]
    for band in range(bands):
        shown = slice(band * columns, (band + 1) * columns)
        for line, (label, clip) in enumerate(clips):
            draw_row(grid[band * lines + line], label, clip[shown], () if line else frame_names[shown])
    if title:
        figure.suptitle("\n".join(short(line, 110) for line in title.split("\n")), fontsize=11)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), HEAT), ax=grid.ravel().tolist(), shrink=0.6, aspect=25, pad=0.01
    )
    bar.set_ticks([0, 1], labels=["0", "largest\nof the clip"], fontsize=8)
    save_figure(figure, path)


def animate_cam(path: Path, rows: Sequence[FilmRow], frame_rate: int = 4) -> None:
    """Write the frames and each model's overlay side by side as mp4 or gif, by the ending of the name.

    Args:
        rows: one for each model, all with the same number of frames.
        frame_rate: frames per second.
    Raises:
        ValueError: rows of different lengths, or another ending.
        CheckpointError: the disk refused.
    """
    _check(rows, None)
    panels = [("frames", rows[0].frames)]
    panels += [(f"{row.title}\n{row.subtitle}", overlay_maps(row.frames, row.maps)) for row in rows]
    write_animation(path, join_panels(panels), frame_rate)


def _label(row: FilmRow) -> str:
    lines = [short(row.title, 44), *(short(line, 66) for line in row.subtitle.split("\n"))]
    return "\n".join(fill(line, 22) for line in lines)


def _check(rows: Sequence[FilmRow], frame_names: Sequence[str] | None) -> int:
    counts = {len(row.frames) for row in rows} | {len(row.maps) for row in rows}
    counts |= set() if frame_names is None else {len(frame_names)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"plot_cam: frames, maps and names have lengths {sorted(counts)}; need one length for all.")
    return counts.pop()
