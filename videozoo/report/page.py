"""Write the report on the papers' cost tables as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from videozoo.report.tables import load_papers
from videozoo.text import markdown_table

__all__ = ["format_markdown", "options_text"]

_HEAD = """\
# The papers' cost tables, measured

This page compares the cost tables of the ARC and DNR papers with videozoo. Each row is a model of the zoo, built with
the row's options, frames and classes. `videozoo report --markdown` writes this page.

**One view** is one clip and one crop, in evaluation. The column *view* gives its frames and their size, the column
before it the classes. The papers print "GFLOPs" and count a multiply-accumulate once, so their figures are GMACs
(billions of MACs) and all figures here are GMACs of one view. A test with 10 clips and 3 crops costs 30 times as much.

- **printed**: the figure in the paper.
- **measured**: our model, counted as the paper counts, with the difference from the printed figure.
- **executed**: our model as it runs, counted by fvcore: convolutions and linear layers, 2 per element for a batch norm
  (and for a dynamic norm of DNR), 1 per element for nearest upsampling and adaptive average pooling, 3 per element for
  the temporal convolutions of TANet and TDN. Other elementwise operations, activations, shifts and poolings count as 0.
- **params**: parameters in millions.

How the papers count:

- ARC adds to *executed* 1 per element for each ReLU and 1 per input element for max pooling. Its classifier sees every
  frame. Inside ARC the maps are upsampled before the 1x1 convolutions, and both ReLUs of eq. 5 are computed. Our layer
  gives the same output at a lower cost, with the 1x1 convolutions first and one ReLU. Counted as the paper counts,
  Table 5c matches in every printed digit. The paper truncates there: 15.446 is printed as 15.44.
- DNR counts as *executed* does. A ResNet-50 then has the 4.11 GMACs that it prints for one frame.

Verdicts:

- **match**: every measured figure rounds to the printed digits or is at most 0.5 % away.
- **differs**: the note below the table gives the reason. A cause is named only if we computed its figure and it rounds
  to the printed one.
- **no figure**: the paper prints no cost in this row.
- **not built**: the model is not in videozoo, and the note says why.
"""

_COLUMNS = {
    "model": "---",
    "options": "---",
    "data set (classes)": "---",
    "view": "--:",
    "GFLOPs printed": "--:",
    "GMACs measured": "--:",
    "GMACs executed": "--:",
    "params printed": "--:",
    "params measured": "--:",
    "verdict": "---",
}
_VERDICTS = ("match", "differs", "no figure", "not built")


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
    return markdown_table(["paper", "rows", *_VERDICTS], lines, ["---", *["--:"] * (1 + len(_VERDICTS))]) + "\n"


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
    if row["architecture"] is None:
        return [row["model"], "", f"{row['dataset']} ({row['num_classes']})", ""]
    _, frames, height, width = row["clip_shape"]
    reproduced = " (reproduced)" if "reproduced" in row["model"] else ""
    return [
        f"`{row['architecture']}`{reproduced}",
        options_text(row.get("options", {})),
        f"{row['dataset']} ({row['num_classes']})",
        f"{frames} x {height} x {width}",
    ]


def _figures(row: Mapping[str, Any]) -> list[str]:
    if row["architecture"] is None:
        return [_printed(row.get("gflops_per_view")), "", "", _printed(row.get("params_m")), ""]
    return [
        _printed(row.get("gflops_per_view")),
        _measured(row["measured_gmacs"], row["gmacs_difference"]),
        f"{row['executed_gmacs']:.3f}",
        _printed(row.get("params_m")),
        _measured(row["measured_params_m"], row["params_difference"]),
    ]


def _printed(figure: float | None) -> str:
    return "" if figure is None else str(figure)


def _measured(figure: float, difference: float | None) -> str:
    """Return the figure, with the difference from the printed one if there is one."""
    if difference is None:
        return f"{figure:.3f}"
    return f"{figure:.3f} ({difference:+.2%})".replace("+0.00%", "0.00%").replace("-0.00%", "0.00%")


def options_text(options: Mapping[str, Any]) -> str:
    """Return the options of a row in words."""
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
