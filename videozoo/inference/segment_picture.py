"""A picture of the classes of a video over time."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from videozoo.engine.figures import save_figure, short
from videozoo.engine.fonts import number_names

from .segments import WindowScores

MOST_CLASSES = 12
_BEST = "#c2571a"
_LONGEST_NAME, _LINE_LETTERS = 64, 34
# Seconds from one label of the time axis to the next, of videos that last minutes.
_STEPS_SEC = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MINUTES_FROM_SEC = 120


def plot_windows(path: Path, windows: WindowScores) -> None:
    """Draw the scores of the classes that are best at some time, a row each, over the time of the video.

    A bar below its row says where a class is the best one. Of more than ``MOST_CLASSES`` such classes those that last
    longest are shown, in the order in which they come first.

    Args:
        path: the png.
        windows: of a video.
    Raises:
        CheckpointError: the disk refused.
    """
    segments = windows.segments()
    seconds: dict[int, float] = {}
    for segment in segments:
        length = segment.end_sec - segment.start_sec
        seconds[segment.class_index] = seconds.get(segment.class_index, 0.0) + length
    longest = sorted(seconds, key=lambda label: -seconds[label])[:MOST_CLASSES]
    rows = [label for label in seconds if label in longest]
    all_names, numbered = number_names(windows.class_names)
    names = [all_names[label] for label in rows]
    if names == [windows.class_names[label] for label in rows]:
        numbered = ""

    scores = windows.moments[:, rows].T
    figure = Figure(figsize=(11, 1.3 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for row, label in enumerate(rows):
        # The upper part of the row is the map, the lower part the bar.
        mesh = axes.pcolormesh(
            windows.bounds_sec, [row - 0.45, row + 0.25], scores[row : row + 1], cmap="Blues", vmin=0, vmax=scores.max()
        )
        bars = [(s.start_sec, s.end_sec - s.start_sec) for s in segments if s.class_index == label]
        axes.broken_barh(bars, (row + 0.28, 0.16), facecolor=_BEST, linewidth=0)
    axes.set_yticks(range(len(rows)), _fit_names(names, rows), fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_time(axes, windows.duration_sec)
    figure.colorbar(mesh, ax=axes, label="score", fraction=0.03, pad=0.01)
    title = f"{short(Path(windows.path).name, 80)} (orange: the best class)"
    more = f"the {len(rows)} classes that last longest of {len(seconds)}" if len(seconds) > len(rows) else ""
    axes.set_title("\n".join(line for line in (title, more, numbered) if line), fontsize=10, loc="left")
    save_figure(figure, path, dpi=130, margin=None)


def _draw_time(axes: Axes, duration_sec: float) -> None:
    axes.set_xlim(0, max(duration_sec, 1e-3))
    if duration_sec < _MINUTES_FROM_SEC:
        axes.set_xlabel("seconds")
        return
    step = next((step for step in _STEPS_SEC if duration_sec / step <= 12), duration_sec / 12)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda sec, _: f"{sec // 60:.0f}:{sec % 60:02.0f}"))
    axes.set_xlabel("minutes and seconds")


def _fit_names(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Return names in two lines at most. Those that would look alike when cut begin with their class number."""
    cut = [short(name, _LONGEST_NAME) for name in names]
    cut = [f"{label}: {name}" if cut.count(name) > 1 else name for label, name in zip(labels, cut, strict=True)]
    return [fill(name, _LINE_LETTERS, max_lines=2, placeholder="…") for name in cut]
