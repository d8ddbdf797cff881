"""Table of the zoo: parts and cost of each architecture, and its rows in the papers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from videozoo.models import EnsembleSpec, ModelSpec, list_models, list_pretrained
from videozoo.models.registry import spec_of
from videozoo.report.page import options_text
from videozoo.report.table_models import architecture_of
from videozoo.report.tables import load_papers

__all__ = ["DATASET_NAMES", "PaperRow", "ZooRow", "zoo_rows"]

DATASET_NAMES = {
    "sthsth_v1": "Something-Something V1",
    "sthsth_v2": "Something-Something V2",
    "diving48_v1": "Diving48 V1",
    "diving48_v2": "Diving48 V2",
    "kinetics200": "Kinetics-200",
    "kinetics400": "Kinetics-400",
}


@dataclass(frozen=True)
class PaperRow:
    """Row of a paper's table, as printed.

    Args:
        table: such as ``"ARC, Table 3"``.
        dataset: name of the data set.
        frames: of a clip; ``"8+16"`` for an ensemble of two models; None: not printed.
        options: those that differ from the architecture's own; empty if none do.
        params_m: parameters in millions; None: not printed.
        gflops: of one view, as the paper calls its billions of MACs; None: not printed.
        top1: accuracy in percent.
    """

    table: str
    dataset: str
    frames: int | str | None
    options: str
    params_m: float | None
    gflops: float | None
    top1: float


@dataclass(frozen=True)
class ZooRow:
    """Architecture of the zoo.

    Args:
        name: as ``create_model`` takes it.
        temporal, augmenter, backbone: its parts; empty if it has none.
        clip_shape: (C, T, H, W) of one view.
        params: number of parameters, with the default classes.
        macs: MACs of one view, as ``count_cost`` counts.
        papers: its rows in the papers' tables.
        weights: tags of published weights.
    """

    name: str
    temporal: str
    augmenter: str
    backbone: str
    clip_shape: tuple[int, ...]
    params: int
    macs: int
    papers: tuple[PaperRow, ...]
    weights: tuple[str, ...]


@cache
def zoo_rows() -> tuple[ZooRow, ...]:
    """Return a row for every architecture, in the order of ``list_models``.

    No model is built. The parts come from the registry, the costs from ``zoo_costs.json``, which
    ``scripts/model_cards.py`` writes, and the papers' figures from ``papers.json``.
    """
    costs = json.loads(resources.files("videozoo.report").joinpath("zoo_costs.json").read_text("utf-8"))
    papers = _paper_rows()
    return tuple(_row(name, costs[name], tuple(papers.get(name, ()))) for name in list_models() if name in costs)


def _row(name: str, cost: Mapping[str, Any], papers: tuple[PaperRow, ...]) -> ZooRow:
    spec = spec_of(name)
    member: ModelSpec = spec.members[0] if isinstance(spec, EnsembleSpec) else spec
    parts = [type(part).__name__ for part in (member.temporal, *member.augmenters)]
    return ZooRow(
        name,
        "3-D" if cost["is_3d"] else parts[0],
        " + ".join(parts[1:]),
        member.backbone,
        tuple(cost["clip_shape"]),
        cost["params"],
        cost["macs"],
        papers,
        tuple(list_pretrained(name)),
    )


def _paper_rows() -> dict[str, list[PaperRow]]:
    data = load_papers()
    found: dict[str, list[PaperRow]] = {}
    for row in data["rows"]:
        if row["in_zoo"]:
            name = architecture_of(row, data["backbones"], data["names"])
            found.setdefault(name, []).append(_paper_row(row))
    return found


def _paper_row(row: Mapping[str, Any]) -> PaperRow:
    return PaperRow(
        f"{row['paper'].upper()}, Table {row['table']}",
        DATASET_NAMES.get(row["dataset"], row["dataset"]),
        row.get("frames"),
        options_text(row.get("options", {})),
        row.get("params_m"),
        row.get("gflops_per_view"),
        row["top1"],
    )
