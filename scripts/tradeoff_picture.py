"""Draw published accuracy against GMACs (docs/guides/tradeoff.png, tradeoff_dark.png) and times (speed.png).

The points come from ``videozoo/report/papers.json``, the times from ``benchmarks/speed.json``. No model is run.

    python scripts/tradeoff_picture.py [--output docs/guides] [--speed benchmarks/speed.json]
"""

import argparse
import hashlib
import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from videozoo.report import load_papers
from videozoo.report.table_models import architecture_of
from videozoo.report.zoo import DATASET_NAMES

REPO = Path(__file__).resolve().parents[1]
TABLES = {"sthsth_v1": {"arc": ("3", "7")}, "kinetics400": {"arc": ("6",), "dnr": ("6",)}}
LOWEST = {"sthsth_v1": 40.5, "kinetics400": 70}  # points below are listed at the edge
# Color-blind readers can distinguish the colors. In gray, the marks differ.
COLORS = {"": "#2f5f98", "arc": "#c44f00", "dnr": "#008a64"}
DARK_COLORS = {"": "#79b8ff", "arc": "#ff9d5c", "dnr": "#4fd6a8"}
DARK = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "#0d1117"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#e6edf3"),
    **{"axes.edgecolor": "#6e7681", "grid.color": "#8b949e"},
}
FIGURE = {"figsize": (8.8, 5.2), "dpi": 180}  # half of these pixels is the width of a README
MARKS = {"": "o", "arc": "^", "dnr": "s"}
MODULES = ("backbone alone", "tsn", "tsm", "tanet", "msn", "tdn")
BENDS = (0, 0.08, -0.08, 0.15, -0.15, 0.25, -0.25)  # of arrows, per length; the first without a collision is used
KINDS = {"": "base", "arc": "with ARC", "dnr": "with DNR"}
LABEL_SIZE = 8.5


@dataclass(frozen=True)
class Point:
    """Row of a paper.

    Args:
        label: the zoo's name, with the number of frames unless it is 8, and * if reproduced.
        gmacs: of a whole test, all its views.
        top1: in percent.
        kind: a key of ``KINDS``.
        base: label of the row of the same paper without ARC or DNR, or None.
    """

    label: str
    gmacs: float
    top1: float
    kind: str
    base: str | None


def published(dataset: str) -> list[Point]:
    """Return the points of a data set: each model of the zoo with a printed cost, once per number of frames."""
    data = load_papers()
    points: dict[str, Point] = {}
    for row in data["rows"]:
        is_wanted = row["dataset"] == dataset and row["table"] in TABLES[dataset].get(row["paper"], ())
        if not (is_wanted and row["in_zoo"] and row.get("gflops_per_view") and row.get("views")):
            continue
        name = architecture_of(row, data["backbones"], data["names"])
        frames = f" {row['frames']}f" if isinstance(row.get("frames"), int) and row["frames"] != 8 else ""
        kind = name[:3] if name[:4] in ("arc_", "dnr_") else ""
        base = f"{name[4:]}{frames}" + ("*" if kind == "dnr" else "") if kind else None
        label = f"{name}{frames}" + ("*" if "(reproduced)" in row["model"] else "")
        points.setdefault(label, Point(label, row["gflops_per_view"] * row["views"], row["top1"], kind, base))
    return list(points.values())


def draw_tradeoff(figure: Figure, colors: dict[str, str] = COLORS) -> None:
    """Draw a panel per data set."""
    panels = figure.subplots(1, len(TABLES))
    figure.subplots_adjust(left=0.065, right=0.995, top=0.93, bottom=0.2, wspace=0.13)  # before labels are placed
    for axes, dataset in zip(panels, TABLES, strict=True):
        points = published(dataset)
        shown = {point.label: point for point in points if point.top1 >= LOWEST[dataset]}
        axes.set_xscale("log")
        for point in shown.values():
            axes.plot(point.gmacs, point.top1, MARKS[point.kind], color=colors[point.kind], markersize=6, zorder=3)
        low, high = axes.get_xlim()
        axes.set_xlim(low / 2.4, high * 2.6)
        axes.set_ylim(LOWEST[dataset], axes.get_ylim()[1] + 0.6)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        below = [f"{p.label} ({p.top1} %, {p.gmacs:g} GMACs)" for p in points if p.label not in shown]
        if below:
            axes.annotate(
                f"not shown: {', '.join(below)}", (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=7.5
            )
        axes.set_title(DATASET_NAMES[dataset], fontweight="bold", fontsize=11)
        axes.set(xlabel="GMACs of a test, all views")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        label_points(axes, list(shown.values()), _draw_arrows(axes, shown, colors), colors)
    panels[0].set_ylabel("published top-1 (%)")
    marks = [
        plt.Line2D([], [], marker=MARKS[kind], linestyle="", color=colors[kind], label=KINDS[kind]) for kind in KINDS
    ]
    star = plt.Line2D([], [], linestyle="", label="8 frames unless named.  * reproduced by the DNR paper")
    figure.legend(handles=[*marks, star], loc="lower center", ncols=4, frameon=False, fontsize=9.5, columnspacing=1.5)


def _draw_arrows(axes: Axes, points: dict[str, Point], colors: dict[str, str]) -> np.ndarray:
    """Draw arrows from bases to the models with an add-on, bent around other points; return pixels (N, 2) on them."""
    drawn = [np.zeros((0, 2))]
    places = {label: axes.transData.transform((point.gmacs, point.top1)) for label, point in points.items()}
    for point in points.values():
        base = points.get(point.base or "")
        if base is None:
            continue
        ends = places[base.label], places[point.label]
        others = np.array([place for label, place in places.items() if label not in (point.label, base.label)])
        free = (bend for bend in BENDS if _distance(_curve(*ends, bend), others) > 9 * axes.figure.dpi / 72)
        bend = next(free, BENDS[-1])
        style = {"arrowstyle": "->", "connectionstyle": f"arc3,rad={bend}", "shrinkA": 4, "shrinkB": 4}
        ends_of_data = (point.gmacs, point.top1), (base.gmacs, base.top1)
        axes.annotate("", *ends_of_data, arrowprops=style | {"color": colors[point.kind], "alpha": 0.6})
        drawn.append(_curve(*ends, bend))
    return np.concatenate(drawn)


def _curve(start: np.ndarray, end: np.ndarray, bend: float) -> np.ndarray:
    """Return pixels along an arrow, as matplotlib's arc3 bends it."""
    along = np.linspace(0, 1, 60)[:, None]
    middle = (start + end) / 2 + bend * np.array([end[1] - start[1], start[0] - end[0]])
    return (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end


def _distance(some: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(some[:, None] - others[None], axis=2).min(initial=np.inf))


def label_points(axes: Axes, points: list[Point], arrows: np.ndarray, colors: dict[str, str]) -> None:
    """Write each name at the nearest place where it covers no point, arrow, line or other name.

    Args:
        arrows: pixels (N, 2) on them.
    """
    renderer = axes.figure.canvas.get_renderer()
    scale = axes.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    places = {point.label: axes.transData.transform((point.gmacs, point.top1)) for point in points}
    around = 5 * scale * np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 12)])
    taken = np.concatenate([arrows, *(place + around for place in places.values())])
    boxes: list[np.ndarray] = []  # left, bottom, right, top
    crowded = {
        label: sum(abs(place - other).max() < 60 * scale for other in places.values())
        for label, place in places.items()
    }
    for point in sorted(points, key=lambda point: -crowded[point.label]):
        at, color = places[point.label], colors[point.kind]
        text = axes.annotate(point.label, (0, 0), xycoords="figure pixels", va="center", ha="center", color=color)
        text.set_fontsize(LABEL_SIZE)
        extent = text.get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2 + 2
        for center in _places_around(at, half, scale):
            box = np.array([*(center - half), *(center + half)])
            edge = np.clip(at, box[:2], box[2:])
            line = at + np.linspace(0.35, 1, 30)[:, None] * (edge - at)
            is_inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            is_free = not any(_meet(box, other) or _covers(other, line) for other in boxes)
            is_free = is_free and (not _is_far(edge - at, scale) or _distance(line, arrows) > 2 * scale)
            if is_inside and is_free and not _covers(box, taken):
                break
        text.xy = tuple(center)
        text.set_position(tuple(center))
        boxes.append(box)
        if _is_far(edge - at, scale):
            ends = axes.transData.inverted().transform([at, edge])
            axes.plot(*ends.T, color="#999999", linewidth=0.6, zorder=1)
            taken = np.concatenate([taken, line])


def _is_far(way: np.ndarray, scale: float) -> bool:
    """Return whether a name needs a line to its point."""
    return bool(np.hypot(*way) > 12 * scale)


def _places_around(at: np.ndarray, half: np.ndarray, scale: float) -> Iterator[np.ndarray]:
    """Yield centers for a box near a point, the nearest first, right and left before above and below."""
    for distance in np.arange(8, 260, 4) * scale:
        for degrees in (0, 180, 20, -20, 160, -160, 40, -40, 140, -140, 60, -60, 120, -120, 90, -90):
            way = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
            yield at + way * distance + np.sign(way.round(6)) * half * (abs(way) > 0.1)


def _covers(box: np.ndarray, pixels: np.ndarray) -> bool:
    return bool(((pixels > box[:2]) & (pixels < box[2:])).all(1).any())


def _meet(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


def measured(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sections of one clip at a time, in float32, of ResNet-18 and ResNet-50."""
    wanted = {"task": "inference", "batch": 1, "dtype": "float32", "layout": "channels_last"}
    return [
        section
        for section in result["sections"].values()
        if section["depth"] in ("r18", "r50") and all(section[key] == value for key, value in wanted.items())
    ]


def draw_speed(figure: Figure, result: dict[str, Any]) -> None:
    """Draw a panel per depth: the time of a clip, and the time of its MACs at the backbone's rate.

    Models are in the order of their temporal modules in every panel. Sorted by time, differences within the noise
    would look like a ranking.
    """
    found = measured(result)
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, section in zip(panels, found, strict=True):
        base, depth = section["base"], section["depth"]
        times = {row: entry["ms"] for row, entry in section["rows"].items() if row == base or not set(" ,") & set(row)}
        own = statistics.median(times[base])
        names = {row: "backbone alone" if row == base else row.removesuffix(f"_{depth}") for row in times}
        rows = sorted(times, key=lambda row: (row != base, *_module_and_part(names[row])))
        places, place = [], 0.0
        for before, row in zip([None, *rows], rows, strict=False):
            is_new = before is not None and _module_and_part(names[before])[0] != _module_and_part(names[row])[0]
            place += 0 if before is None else 1.35 if is_new else 0.85
            places.append(place)
        for y, row in zip(places, rows, strict=True):
            low, middle, high = statistics.quantiles(times[row], n=4, method="inclusive")
            color = "#808080" if row == base else COLORS[row[:3] if row[:4] in ("arc_", "dnr_") else ""]
            spread = [[middle - low], [high - middle]]
            axes.barh(y, middle, color=color, height=0.7, xerr=spread, ecolor="#222222", capsize=3)
            axes.plot(own * result["macs"][row] / result["macs"][base], y, "D", color="black", markersize=5)
            axes.annotate(f"{middle:.0f} ms", (high, y), (7, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(places, [names[row] for row in rows])
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.set_xlim(right=axes.get_xlim()[1] * 1.13)
        axes.set_xlabel("ms for a clip of 8 x 224 x 224, one at a time")
        axes.set_title(f"ResNet-{depth[1:]}", fontsize=10)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    about = f"{result['machine']}, float32. Bar: median, line: quartiles. Diamond: at the backbone's MACs per second"
    figure.suptitle(about, fontsize=9)
    figure.tight_layout()


def _module_and_part(name: str) -> tuple[int, bool]:
    """Return a sort key: the place of the temporal module, then the module alone before its add-ons."""
    module = name.removeprefix("arc_").removeprefix("dnr_")
    return (MODULES.index(module) if module in MODULES else len(MODULES), module != name)


def digest(data: Any) -> str:
    """Return a hash of the data of a picture; the file stores it, so that a test can detect an outdated picture."""
    return hashlib.sha256(repr(data).encode()).hexdigest()


def save(figure: Figure, path: Path, data: Any) -> None:
    """Write a picture atomically, with the hash of its data."""
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png", dpi=figure.dpi, metadata={"Source": digest(data)})
    os.replace(temporary, path)
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPO / "docs" / "guides", help="folder for the pictures")
    parser.add_argument("--speed", type=Path, default=REPO / "benchmarks" / "speed.json", help="of benchmarks/speed.py")
    args = parser.parse_args()
    points = [published(dataset) for dataset in TABLES]
    for name, style, colors in (("tradeoff.png", {}, COLORS), ("tradeoff_dark.png", DARK, DARK_COLORS)):
        with plt.rc_context(style):
            figure = plt.figure(**FIGURE)
            draw_tradeoff(figure, colors)
            save(figure, args.output / name, points)
    figure = plt.figure(figsize=(9.4, 4), dpi=130)
    result = json.loads(args.speed.read_text(encoding="utf-8"))
    draw_speed(figure, result)
    save(figure, args.output / "speed.png", measured(result))


if __name__ == "__main__":
    main()
