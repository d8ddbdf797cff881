"""The report as a page to read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from videozoo.report.tables import load_papers
from videozoo.text import markdown_table

__all__ = ["format_markdown", "options_text"]

_HEAD = """\
# The papers' cost tables, measured

Every row of the cost tables of two papers whose network is in the zoo: what the paper prints, and what the network of
that name, built with the row's options, frames and classes, measures. `videozoo report --markdown` writes this page.

**One view** is what goes through the network at once: one clip and one crop, in evaluation. The column *view* gives its
frames and their size, the column before it the classes. GFLOPs are thousand millions of multiply-adds of one view, a
multiply-add counted once; a test with 10 clips and 3 crops costs 30 times as much.

- **printed**: what the paper prints.
- **measured**: our network, counted as the paper counts, and the difference to the printed figure.
- **executed**: our network as it runs, counted by fvcore: convolutions and linear maps, 2 per element for a batch norm
  (and for a dynamic norm of DNR), 1 per element for nearest upsampling and adaptive average pooling, 3 per element for
  the temporal convolutions of TANet and TDN, which run as products of maps. Other additions and products of maps,
  activations, shifts and poolings cost nothing.
- **params**: million parameters.

How the papers count:

- ARC counts what *executed* does, and 1 per element for each ReLU and 1 per input element for max pooling. Its
  classifier sees every frame; inside ARC the maps are upsampled before the 1x1 convolutions, and both ReLUs of eq. 5
  are computed. Our layer has the same output with the 1x1 convolutions first and one ReLU, which is cheaper. Counted
  so, Table 5c comes out to every printed digit; what follows was cut off there (15.446 is printed as 15.44).
- DNR counts what *executed* does: a ResNet-50 then has the 4.11 G that it prints for one frame.

Verdicts: **match**, every printed figure is the measured one rounded to the same digits, or at most 0.5 % away.
**differs**, the note below the table says why; a cause is named only where the figure that it stands for was computed
too and rounds to the printed one. **no figure**, the paper prints no cost in this row.
"""

_COLUMNS = {
    "model": "---",
    "options": "---",
    "data set (classes)": "---",
    "view": "--:",
    "GFLOPs printed": "--:",
    "GFLOPs measured": "--:",
    "GFLOPs executed": "--:",
    "params printed": "--:",
    "params measured": "--:",
    "verdict": "---",
}
_VERDICTS = ("match", "differs", "no figure")


def format_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows of :func:`~videozoo.report.tables.paper_report` as a Markdown page, by paper and table.

    Args:
        rows: in any order; papers and tables are sorted, rows of one table keep their order.
    """
    papers = load_papers()["papers"]
    order = list(papers)
    in_order = sorted(rows, key=lambda row: (order.index(row["paper"]), row["table"]))
    blocks = [_HEAD, _summary(in_order, papers)]
    for paper, of_paper in groupby(in_order, key=lambda row: str(row["paper"])):
        about = papers[paper]
        blocks.append(f"## {paper.upper()}\n\n*{about['title']}* ({about['authors']}). {about['note']}\n")
        for table, of_table in groupby(of_paper, key=lambda row: str(row["table"])):
            blocks.append(f"### {paper.upper()}, Table {table}: {about['tables'][table]}\n\n{_table(list(of_table))}")
    return "\n".join(blocks)


def _summary(rows: Sequence[Mapping[str, Any]], papers: Mapping[str, Any]) -> str:
    lines = []
    for paper in papers:
        verdicts = Counter(row["verdict"] for row in rows if row["paper"] == paper)
        if verdicts:
            counts = [verdicts.total(), *(verdicts[verdict] for verdict in _VERDICTS)]
            lines.append([paper.upper(), *map(str, counts)])
    return markdown_table(["paper", "rows", *_VERDICTS], lines, ["---", *["--:"] * 4]) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    notes: list[str] = []
    lines = []
    for row in rows:
        if row["reason"] and row["reason"] not in notes:
            notes.append(row["reason"])
        number = f" ({notes.index(row['reason']) + 1})" if row["reason"] else ""
        lines.append([*_about(row), *_figures(row), row["verdict"] + number])
    below = "".join(f"\n{i}. {note}." for i, note in enumerate(notes, 1))
    return markdown_table([*_COLUMNS], lines, [*_COLUMNS.values()]) + "\n" + (f"{below}\n" if below else "")


def _about(row: Mapping[str, Any]) -> list[str]:
    _, frames, height, width = row["clip_shape"]
    reproduced = " (reproduced)" if "reproduced" in row["model"] else ""
    return [
        f"`{row['architecture']}`{reproduced}",
        options_text(row.get("options", {})),
        f"{row['dataset']} ({row['num_classes']})",
        f"{frames} x {height} x {width}",
    ]


def _figures(row: Mapping[str, Any]) -> list[str]:
    return [
        _printed(row.get("gflops_per_view")),
        _measured(row["measured_gflops"], row["gflops_difference"]),
        f"{row['executed_gflops']:.3f}",
        _printed(row.get("params_m")),
        _measured(row["measured_params_m"], row["params_difference"]),
    ]


def _printed(figure: float | None) -> str:
    return "" if figure is None else str(figure)


def _measured(figure: float, difference: float | None) -> str:
    """The figure, and its difference where a printed one stands beside it."""
    if difference is None:
        return f"{figure:.3f}"
    return f"{figure:.3f} ({difference:+.2%})".replace("+0.00%", "0.00%").replace("-0.00%", "0.00%")


def options_text(options: Mapping[str, Any]) -> str:
    """A row's options in words."""
    parts = []
    for key, value in options.items():
        if isinstance(value, bool):
            text = key if value else f"no {key}"
        elif isinstance(value, list):
            text = ", ".join(f"res{stage}" for stage in value) or "no stage"
        else:
            text = f"{key.replace('_', ' ')} {value}"
        parts.append(text)
    return ", ".join(parts)
