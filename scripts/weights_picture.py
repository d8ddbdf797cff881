"""Draw the published accuracy of all weights against their cost (docs/guides/weights.png, weights_dark.png).

Also write the tables of docs/guides/choose.md. Accuracies and GMACs come from ``videozoo/models/names.json``
(``scripts/write_names.py``), times from ``benchmarks/zoo.json`` (``benchmarks/zoo.py``). No model is run.

    python scripts/weights_picture.py [--output docs/guides] [--times benchmarks/zoo.json]
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from tradeoff_picture import COLORS, DARK, DARK_COLORS, FIGURE, Point, digest, label_points, save

from videozoo.catalog import DATA_SETS, read_catalog, read_costs
from videozoo.text import gmacs_text, markdown_table

__all__ = ["Row", "digest", "draw", "front", "make_rows", "page_text", "read_times", "save"]

REPO = Path(__file__).resolve().parents[1]
TIMES, GUIDES = REPO / "benchmarks" / "zoo.json", REPO / "docs" / "guides"
LOWEST = 68.0  # of the axis in percent; weights below are in the table alone
KINDS = {"image network and temporal module": "o", "3-D convolutions": "s", "attention": "^"}
ATTENTION = ("timesformer", "uniformer", "mvit", "swin3d", "videomae", "vivit", "hiera", "vjepa2")
COSTS = {"gmacs": "GMACs of a view", "ms": "ms on a CPU for a clip of 8 x 112 x 112 pixels"}
CLIPS = 2  # of a measured batch
HEAD = ("model", "top-1", "GMACs", "CPU ms", "params (M)", "license")
RULES = ("---", "---", "--:", "--:", "--:", "---")


@dataclass(frozen=True)
class Row:
    """Architecture with weights.

    Args:
        name: the architecture.
        top1: best published top-1 in percent by short name of the data set, Kinetics-400 first.
        gmacs: of a view of the first of these.
        ms: measured for a clip of the common size. None: not measured.
        params: of the same weights as ``gmacs``, in millions.
        license: of the same weights.
    """

    name: str
    top1: dict[str, float]
    gmacs: float
    ms: float | None
    params: float
    license: str


def make_rows(times: dict[str, Any]) -> list[Row]:
    """Return a row for each architecture with public weights, the cheapest first.

    Args:
        times: the rows of ``zoo.json``.
    """
    short = {full: name for name, full in DATA_SETS.items() if name != "motions"}
    rows = []
    catalog = read_catalog()
    if catalog is None:
        raise SystemExit("the file of names is out of date; run scripts/write_names.py before.")
    for arch, tags in catalog.items():
        best: dict[str, Any] = {}
        for facts in tags.values():
            name = short.get(facts["dataset"], facts["dataset"])
            if facts["dataset"] != DATA_SETS["motions"] and facts["top1"] > best.get(name, {"top1": 0})["top1"]:
                best[name] = facts
        if not best:
            continue
        order = sorted(best, key=lambda name: (name != "k400", name))
        first = best[order[0]]
        top1 = {name: round(100 * best[name]["top1"], 2) for name in order}
        ms = times[arch]["predict_ms"] / CLIPS if arch in times else None
        rows.append(Row(arch, top1, first["macs"] / 1e9, ms, first["params"] / 1e6, first["license"]))
    return sorted(rows, key=lambda row: (row.gmacs, row.name))


def front(rows: Iterable[Row], cost: str) -> list[Row]:
    """Return the rows of Kinetics-400 that no row with the same cost or less beats, the cheapest first."""
    found: list[Row] = []
    known = [row for row in rows if "k400" in row.top1 and getattr(row, cost) is not None]
    for row in sorted(known, key=lambda row: (getattr(row, cost), -row.top1["k400"])):
        if not found or row.top1["k400"] > found[-1].top1["k400"]:
            found.append(row)
    return found


def draw(figure: Figure, rows: Sequence[Row], colors: dict[str, str] = COLORS) -> None:
    """Draw a panel per cost that is known."""
    costs = {cost: text for cost, text in COSTS.items() if front(rows, cost)}
    panels = figure.subplots(1, len(costs), squeeze=False, sharey=True)[0]
    # before labels are placed
    figure.subplots_adjust(left=0.085, right=0.985, top=0.97, bottom=0.2, wspace=0.05)
    own = dict(zip(KINDS, colors.values(), strict=True))
    for axes, (cost, text) in zip(panels, costs.items(), strict=True):
        axes.set_xscale("log")
        axes.set(xlabel=text, ylim=(LOWEST, None))
        _draw_points(axes, rows, cost, own)
    panels[0].set_ylabel("published top-1 on Kinetics-400 (%)")
    marks = [plt.Line2D([], [], marker=KINDS[kind], linestyle="", color=own[kind], label=kind) for kind in KINDS]
    line = plt.Line2D([], [], color="#999999", label="best at its cost")
    figure.legend(handles=[*marks, line], loc="lower center", ncols=4, frameon=False, fontsize=9.5, columnspacing=1.5)


def _draw_points(axes: Axes, rows: Sequence[Row], cost: str, colors: dict[str, str]) -> None:
    """Draw all weights of Kinetics-400, and the names of those that are the best at their cost."""
    best = [row.name for row in front(rows, cost)]
    points = [
        Point(row.name, getattr(row, cost), row.top1["k400"], _kind(row.name), None)
        for row in rows
        if row.top1.get("k400", 0) >= LOWEST and getattr(row, cost) is not None
    ]
    for point in points:
        is_best = point.label in best
        style = {"color": colors[point.kind], "markersize": 7 if is_best else 4.5, "alpha": 1 if is_best else 0.55}
        axes.plot(point.gmacs, point.top1, KINDS[point.kind], zorder=3 if is_best else 2, markeredgewidth=0, **style)
    named = sorted((point for point in points if point.label in best), key=lambda point: point.gmacs)
    axes.plot(*zip(*((p.gmacs, p.top1) for p in named), strict=True), color="#999999", linewidth=1, zorder=1)
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.set_ylim(top=max(point.top1 for point in points) + 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    label_points(axes, named, _taken(axes, points, named), colors)


def _taken(axes: Axes, points: Sequence[Point], named: Sequence[Point]) -> np.ndarray:
    """Return pixels (N, 2) that no name may cover: around the points, and on the line through those with names."""
    around = np.linspace(0, 2 * np.pi, 12)
    ring = 4 * axes.figure.dpi / 72 * np.stack([np.cos(around), np.sin(around)], axis=1)
    places = axes.transData.transform([(point.gmacs, point.top1) for point in points])
    corners = axes.transData.transform([(point.gmacs, point.top1) for point in named])
    ways = [np.linspace(a, b, 60) for a, b in itertools.pairwise(corners)]
    return np.concatenate([*(place + ring for place in places), *ways])


def _kind(name: str) -> str:
    image, space_time, attention = KINDS
    if name.startswith(ATTENTION):
        return attention
    return space_time if read_costs()[name]["is_3d"] else image


def page_text(text: str, rows: Sequence[Row]) -> str:
    """Return docs/guides/choose.md with its tables written again."""
    best = front(rows, "gmacs")
    for name, found in (("best", best), ("all", rows)):
        begin, end = f"<!-- {name}: scripts/weights_picture.py writes this table -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        table = markdown_table(HEAD, map(_cells, found), RULES)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def _cells(row: Row) -> list[str]:
    top1 = ", ".join(f"{name} {value:.1f}" for name, value in row.top1.items())
    ms = "" if row.ms is None else f"{row.ms:.0f}"
    return [f"`{row.name}`", top1, gmacs_text(round(row.gmacs * 1e9)), ms, f"{row.params:.1f}", row.license]


def read_times(path: Path = TIMES) -> dict[str, Any]:
    """Return the rows of ``zoo.json``, empty if nothing was measured so far."""
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else {}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=GUIDES, help="folder of choose.md, for the pictures")
    parser.add_argument("--times", type=Path, default=TIMES, help="of benchmarks/zoo.py")
    args = parser.parse_args()
    rows = make_rows(read_times(args.times))
    for name, style, colors in (("weights.png", {}, COLORS), ("weights_dark.png", DARK, DARK_COLORS)):
        with plt.rc_context(style):
            figure = plt.figure(**FIGURE)
            draw(figure, rows, colors)
            save(figure, args.output / name, rows)
    page = args.output / "choose.md"
    if page.is_file():
        page.write_text(page_text(page.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
