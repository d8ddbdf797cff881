"""Draw docs/guides/tradeoff.png, accuracy as published against FLOPs, and docs/guides/speed.png, times as measured.

The rows of the papers are those of ``videozoo report`` (``videozoo/report/papers.json``), the times those of
``benchmarks/speed.json``; nothing is run and nothing else is read.

    python scripts/tradeoff_picture.py [--output docs/guides] [--speed benchmarks/speed.json]
"""

import argparse
import hashlib
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from videozoo.report import load_papers
from videozoo.report.networks import architecture_of
from videozoo.report.zoo import DATASET_NAMES

REPO = Path(__file__).resolve().parents[1]
TABLES = {"sthsth_v1": {"arc": ("3", "7")}, "kinetics400": {"arc": ("6",), "dnr": ("6",)}}
LOWEST = {"sthsth_v1": 40.5, "kinetics400": 70}  # what lies below is told at the edge
COLOURS = {"": "#2f5f98", "arc": "#c93a4e", "dnr": "#1f7a4a"}
KINDS = {"": "base", "arc": "with ARC", "dnr": "with DNR"}
LABEL_SIZE = 9


@dataclass(frozen=True)
class Point:
    """A row of a paper.

    Args:
        label: the zoo's name, and what tells it from others of the name: frames other than 8, * if reproduced.
        gflops: thousand million multiply-adds of a whole test, all its views.
        top1: per cent.
        kind: a key of ``KINDS``.
        base: label of the row of the same paper without ARC or DNR, or None.
    """

    label: str
    gflops: float
    top1: float
    kind: str
    base: str | None


def published(dataset: str) -> list[Point]:
    """The points of one data set: each network of the zoo with a printed cost, once for each number of frames."""
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


def draw_tradeoff(figure: Figure) -> None:
    """A panel per data set."""
    panels = figure.subplots(1, len(TABLES))
    figure.subplots_adjust(left=0.06, right=0.985, top=0.94, bottom=0.19, wspace=0.14)  # before labels are placed
    for axes, dataset in zip(panels, TABLES, strict=True):
        points = published(dataset)
        shown = {point.label: point for point in points if point.top1 >= LOWEST[dataset]}
        axes.set_xscale("log")
        for point in shown.values():
            axes.plot(point.gflops, point.top1, "o", color=COLOURS[point.kind], markersize=6, zorder=3)
            base = shown.get(point.base or "")
            if base is not None:
                arrow = {"arrowstyle": "->", "color": COLOURS[point.kind], "alpha": 0.55, "shrinkA": 4, "shrinkB": 4}
                ends = {"xy": (point.gflops, point.top1), "xytext": (base.gflops, base.top1)}
                axes.annotate("", **ends, arrowprops=arrow)
        low, high = axes.get_xlim()
        axes.set_xlim(low / 1.7, high * 2.6)
        axes.set_ylim(LOWEST[dataset], axes.get_ylim()[1] + 0.6)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        below = [f"{p.label}: {p.top1} at {p.gflops:g} G" for p in points if p.label not in shown]
        if below:
            axes.annotate(f"below: {', '.join(below)}", (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=8)
        axes.set(title=DATASET_NAMES[dataset], ylabel="top-1, published (%)")
        axes.set(xlabel="multiply-adds of a test, all views (G)")
        axes.grid(alpha=0.25)
        _label(axes, list(shown.values()))
    marks = [plt.Line2D([], [], marker="o", linestyle="", color=COLOURS[kind], label=KINDS[kind]) for kind in KINDS]
    star = plt.Line2D([], [], linestyle="", label="* reproduced by the DNR paper; 8 frames unless told")
    figure.legend(handles=[*marks, star], loc="lower center", ncols=4, frameon=False)


def _label(axes: Axes, points: list[Point]) -> None:
    """Names beside their points, changed networks right of them and bases left, each at the nearest free height."""
    rightmost = max(points, key=lambda point: point.gflops)
    pixel = axes.figure.dpi / 72
    height = 1.25 * LABEL_SIZE * pixel
    axes.figure.canvas.draw()
    places = {point.label: axes.transData.transform((point.gflops, point.top1)) for point in points}
    taken = [(x - 6, x + 6, y) for x, y in places.values()]  # left, right and middle, in pixels
    for point in sorted(points, key=lambda point: -point.top1):
        x, y = places[point.label]
        width = 0.6 * LABEL_SIZE * pixel * len(point.label)
        side = 1 if point.kind or point == rightmost else -1
        left, right = sorted((x + side * 12, x + side * (12 + width)))
        shifts = sorted(range(-200, 201, 2), key=abs)
        free = (
            shift
            for shift in shifts
            if all(right < start or end < left or abs(y + shift - middle) >= height for start, end, middle in taken)
        )
        shift = next(free, 0)
        taken.append((left, right, y + shift))
        axes.annotate(
            point.label,
            (point.gflops, point.top1),
            (side * 12 / pixel, shift / pixel),
            textcoords="offset points",
            ha="left" if side == 1 else "right",
            va="center",
            fontsize=LABEL_SIZE,
            color=COLOURS[point.kind],
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6} if abs(shift) > 8 else None,
        )


def measured(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections of one clip at a time, in float32, of ResNet-18 and ResNet-50."""
    wanted = {"task": "inference", "batch": 1, "dtype": "float32", "layout": "channels_last"}
    return [
        section
        for section in result["sections"].values()
        if section["depth"] in ("r18", "r50") and all(section[key] == value for key, value in wanted.items())
    ]


def draw_speed(figure: Figure, result: dict[str, Any]) -> None:
    """A panel per depth: what a clip takes, beside what its multiply-adds would take at the backbone's rate."""
    found = measured(result)
    for axes, section in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        base = section["base"]
        times = {row: entry["ms"] for row, entry in section["rows"].items() if row == base or not set(" ,") & set(row)}
        order = sorted(times, key=lambda row: -statistics.median(times[row]))
        own = statistics.median(times[base])
        for y, row in enumerate(order):
            low, middle, high = statistics.quantiles(times[row], n=4, method="inclusive")
            colour = "#808080" if row == base else COLOURS[row[:3] if row[:4] in ("arc_", "dnr_") else ""]
            axes.barh(y, middle, color=colour, height=0.62, xerr=[[middle - low], [high - middle]], ecolor="#222222")
            axes.plot(own * result["macs"][row] / result["macs"][base], y, "D", color="black", markersize=5)
            axes.annotate(f"{middle:.0f} ms", (high, y), (5, 0), textcoords="offset points", va="center", fontsize=8)
        names = [f"{row.removeprefix('timm ')} alone" if row == base else row for row in order]
        axes.set_yticks(range(len(order)), names)
        axes.set_xlim(right=axes.get_xlim()[1] * 1.13)
        axes.set_xlabel("ms for a clip of 8 x 224 x 224, one at a time")
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    figure.suptitle(f"{result['machine']}, float32. Diamond: at the backbone's multiply-adds per second", fontsize=9)
    figure.tight_layout()


def digest(data: Any) -> str:
    """A hash of what a picture shows; the picture carries it, so that a test can tell whether it is of today."""
    return hashlib.sha256(repr(data).encode()).hexdigest()


def save(figure: Figure, path: Path, data: Any) -> None:
    """Write a picture, under a temporary name first."""
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png", dpi=figure.dpi, metadata={"Source": digest(data)})
    os.replace(temporary, path)
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPO / "docs" / "guides", help="folder for the pictures")
    parser.add_argument("--speed", type=Path, default=REPO / "benchmarks" / "speed.json", help="of benchmarks/speed.py")
    args = parser.parse_args()
    figure = plt.figure(figsize=(10.6, 5.9), dpi=120)
    draw_tradeoff(figure)
    save(figure, args.output / "tradeoff.png", [published(dataset) for dataset in TABLES])
    figure = plt.figure(figsize=(9.4, 4), dpi=130)
    result = json.loads(args.speed.read_text(encoding="utf-8"))
    draw_speed(figure, result)
    save(figure, args.output / "speed.png", measured(result))


if __name__ == "__main__":
    main()
