"""Sections of the model cards that come from the tables in ``benchmarks/``."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from videozoo.catalog import DATA_SETS
from videozoo.report import load_papers
from videozoo.text import gmacs_text, markdown_table

__all__ = ["goldens_section", "order4_section", "papers_section", "read_results", "weights_table"]

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
DATASETS = {
    **{title: short for short, title in DATA_SETS.items()},
    **{f"Kinetics-{classes}": f"K{classes}" for classes in (400, 600, 700, 710)},
    **{"Something-Something V2": "SSv2", "Something-Something V1": "SSv1"},
}
SOURCES = {"MMAction2 1.x": "MMAction2", "the TSM authors": "TSM authors"}
RIGHT = "--:"  # alignment of a column of numbers


@cache
def read_results() -> list[dict[str, str]]:
    """Return the rows of ``benchmarks/results.csv``."""
    with (BENCHMARKS / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights_table(rows: Sequence[dict[str, str]]) -> str:
    """Return the table of weights with the notes that its views need."""
    notes = list(dict.fromkeys(row["measured_with"] for row in rows if row["measured_with"]))
    cells = []
    for row in rows:
        views = row["views"] or f"({notes.index(row['measured_with']) + 1})"
        source = (
            f"[{SOURCES.get(row['source'], row['source'])}]({row['source_url']})" if row["source_url"] else "bundled"
        )
        figures = [row["top1"], row["top5"], f"{int(row['params']) / 1e6:.2f}", gmacs_text(int(row["macs"]))]
        stride = row["sampling"].partition("stride ")[2]
        frames = f"{row['frames']}x{stride}" if stride else row["frames"]
        dataset = DATASETS[row["dataset"]]
        cells.append([f"`{row['model']}`", dataset, frames, views, row["crop"], *figures, row["license"], source])
    head = (
        "model",
        "data set",
        "frames",
        "views",
        "crop",
        "top-1",
        "top-5",
        "params (M)",
        "GMACs",
        "license",
        "source",
    )
    lines = [f"({number}) Accuracy measured with {note}." for number, note in enumerate(notes, 1)]
    legend = (
        "K400 is Kinetics-400 (K600, K700 and K710 likewise), SSv1 and SSv2 are Something-Something V1 and V2. Frames: "
        "`8` takes one frame from each of 8 segments of the video, `8x4` takes a dense clip of 8 frames with stride 4. "
        "Views are clips x crops of a test. GMACs are those of one view of *crop* x *crop* pixels. An empty cell was "
        "not published."
    )
    table = markdown_table(head, cells, ["---"] * 2 + [RIGHT] * 7 + ["---"] * 2)
    return "\n\n".join([table, legend, *lines])


@cache
def _paper_rows() -> list[tuple[str, list[str], str]]:
    """Return (table, cells with the printed top-1, note) of each row of ``benchmarks/paper_tables.md``."""
    data = load_papers()
    rows = []
    for section in (BENCHMARKS / "paper_tables.md").read_text(encoding="utf-8").split("\n### ")[1:]:
        title, *lines = section.splitlines()
        table = title.partition(":")[0]
        of_table = [r for r in data["rows"] if f"{r['paper'].upper()}, Table {r['table']}" == table and r["in_zoo"]]
        notes = dict(line.split(". ", 1) for line in lines if re.match(r"\d+\. ", line))
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
        for printed, row in zip(of_table, cells, strict=True):
            number = re.search(r"\((\d+)\)$", row[-1])
            verdict = row[-1].partition(" (")[0]
            note = notes[number[1]] if number else ""
            rows.append((table, [*row[:-1], verdict, f"{printed['top1']:g}"], note))
    return rows


def papers_section(names: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the papers' cost tables about these models, with their notes."""
    rows = [(table, cells, note) for table, cells, note in _paper_rows() if cells[0].split("`")[1] in names]
    if not rows:
        return
    yield "## In the papers"
    yield (
        "Rows of the ARC and DNR papers about these models, as printed, beside our count. The papers' GFLOPs count a "
        "MAC once, as GMACs do. [How they are counted, and all rows](../benchmarks/paper_tables.md)."
    )
    head = ("model", "table", "options", "data set (classes)", "view", "GFLOPs printed", "GMACs measured")
    head += ("GMACs executed", "params printed (M)", "measured (M)", "verdict", "top-1 printed")
    table = [[cells[0], title, *cells[1:]] for title, cells, _ in rows]
    yield markdown_table(head, table, ["---"] * 4 + [RIGHT] * 6 + ["---", RIGHT])
    notes = dict.fromkeys(f"* {title}: {note}" for title, _, note in rows if note)
    yield "\n".join(notes)


def order4_section(names: Sequence[str]) -> Iterator[str]:
    """Yield the accuracies on the order4 clips."""
    rows = [row for row in json.loads((BENCHMARKS / "order4.json").read_text())["rows"] if row["model"] in names]
    if rows:
        yield "## Trained here"
        yield (
            "[order4](../benchmarks/order4.md): real clips whose classes differ only in the order of their frames, one "
            "seed."
        )
        cells = [[f"`{row['model']}`", f"{row['top1']:.1%}", f"{row['reversed_top1']:.1%}"] for row in rows]
        yield markdown_table(("model", "top-1", "top-1, clips played backwards"), cells, ["---", RIGHT, RIGHT])


def goldens_section(made_of: Mapping[str, str]) -> Iterator[str]:
    """Yield the comparison with the original code; ``made_of`` has the names of models by backbone and parts."""
    rows = []
    for path in sorted(BENCHMARKS.glob("goldens*.md")):
        for line in path.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) > 7 and cells[3] in made_of:
                rows.append(
                    [f"`{made_of[cells[3]]}`", f"[{cells[1]}](../benchmarks/{path.name})", *cells[4:8:3], cells[6]]
                )
    if rows:
        yield "## Compared with the original code"
        yield "Largest difference of the logits, with the same weights and clips:"
        head = ("model", "original code", "frames x size", "tolerance", "largest difference")
        yield markdown_table(head, rows, ["---", "---", RIGHT, RIGHT, RIGHT])
