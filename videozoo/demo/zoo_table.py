"""The zoo as rows of the page's table, and what its filters leave of them."""

from collections.abc import Sequence
from typing import Any

from videozoo.report import PaperRow, ZooRow

__all__ = ["PAPER_HEAD", "ZOO_HEAD", "ZOO_WIDTHS", "choices_of", "filter_rows", "paper_cells", "zoo_cells"]

ZOO_HEAD = (
    *("model", "temporal", "augmenter", "backbone", "one view", "params, M", "GMACs"),
    *("paper: params, M", "paper: GFLOPs", "paper: top-1, %", "weights"),
)
ZOO_WIDTHS = (170, 95, 105, 190, 108, 98, 85, 110, 200, 330, 330)  # pixels
PAPER_HEAD = ("table", "data set", "frames", "options", "params, M", "GFLOPs of a view", "top-1, %")
NONE = "none"


def choices_of(rows: Sequence[ZooRow], field: str) -> list[str]:
    """Return the distinct values of a field, in the zoo's order.

    ``none`` is for an empty one.
    """
    return list(dict.fromkeys(getattr(row, field) or NONE for row in rows))


def filter_rows(
    rows: Sequence[ZooRow],
    text: str = "",
    temporal: Sequence[str] = (),
    augmenters: Sequence[str] = (),
    most_gmacs: float | None = None,
    has_weights: bool = False,
    has_papers: bool = False,
) -> list[ZooRow]:
    """Return the rows that pass every filter.

    Args:
        text: words, each of which is a part of the name or of the backbone's.
        temporal, augmenters: of which one must fit. Empty: any.
        most_gmacs: of one view. None or 0: any.
        has_weights: only with published weights.
        has_papers: only those that the papers' tables are about.
    """
    words = (text or "").lower().split()
    return [
        row
        for row in rows
        if all(word in f"{row.name} {row.backbone}".lower() for word in words)
        and (not temporal or row.temporal in temporal)
        and (not augmenters or (row.augmenter or NONE) in augmenters)
        and (not most_gmacs or row.macs <= most_gmacs * 1e9)
        and (not has_weights or row.weights)
        and (not has_papers or row.papers)
    ]


def zoo_cells(row: ZooRow) -> list[Any]:
    """Return a row of the table.

    The papers' figures are those without options, with the number of frames where it differs.
    """
    _, frames, height, width = row.clip_shape
    plain = [paper for paper in row.papers if not paper.options]
    plain.sort(key=lambda paper: paper.frames != frames)

    def with_frames(value: float, paper: PaperRow) -> str:
        return f"{value:g}" if paper.frames in (None, frames) else f"{value:g} ({paper.frames} frames)"

    return [
        *(row.name, row.temporal, row.augmenter, row.backbone, f"{frames}x{height}x{width}"),
        *(round(row.params / 1e6, 2), round(row.macs / 1e9, 2)),
        " / ".join(dict.fromkeys(f"{paper.params_m:g}" for paper in plain if paper.params_m is not None)),
        " / ".join(dict.fromkeys(with_frames(paper.gflops, paper) for paper in plain if paper.gflops is not None)),
        ", ".join(f"{_short(paper.dataset)} {with_frames(paper.top1, paper)}" for paper in _best(plain)),
        ", ".join(name.partition(".")[2] for name in row.weights),
    ]


def paper_cells(paper: PaperRow) -> list[Any]:
    """Return a row of the table of one model's figures in the papers."""
    figures = ["" if value is None else f"{value:g}" for value in (paper.params_m, paper.gflops, paper.top1)]
    return [paper.table, paper.dataset, str(paper.frames or ""), paper.options, *figures]


def _best(papers: Sequence[PaperRow]) -> list[PaperRow]:
    """Return the most accurate row of each data set and number of frames."""
    best: dict[tuple[str, int | str | None], PaperRow] = {}
    for paper in papers:
        key = paper.dataset, paper.frames
        if key not in best or paper.top1 > best[key].top1:
            best[key] = paper
    return list(best.values())


def _short(dataset: str) -> str:
    return dataset.replace("Something-Something", "SthSth")
