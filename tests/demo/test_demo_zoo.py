"""The table of the zoo: it agrees with the model cards and the papers, and can be filtered."""

from typing import Any

from helpers import REPO

import videozoo
from videozoo.demo.zoo_table import ZOO_HEAD, filter_rows, paper_cells, zoo_cells
from videozoo.report import zoo_rows


def test_the_table_of_the_zoo_agrees_with_the_model_cards() -> None:
    rows = {row.name: row for row in zoo_rows()}
    assert list(rows) == videozoo.list_models(), "run: python scripts/model_cards.py"
    index = (REPO / "model_cards" / "README.md").read_text(encoding="utf-8")
    cards = {line.split("`")[1]: line.split(" | ") for line in index.splitlines() if line.startswith("| `")}
    for name, row in rows.items():
        _, frames, height, width = row.clip_shape
        _, _, clip, params, gmacs = cards[name]
        assert clip.startswith(f"{frames}x{height}x{width}")
        assert (params, gmacs.rstrip(" |")) == (f"{row.params / 1e6:.2f}", f"{row.macs / 1e9:.2f}")
    cells = dict(zip(ZOO_HEAD, zoo_cells(rows["arc_tsm_r18"]), strict=True))
    assert (cells["temporal"], cells["augmenter"], cells["backbone"]) == ("TSM", "ARC", "resnet18")
    assert cells["paper: params, M"] == "14.2"  # Table 2 of the paper, as in benchmarks/paper_tables.md
    assert cells["paper: GFLOPs"].startswith("17.2 / 17")
    assert "SthSth V1 47.9" in cells["paper: top-1, %"]
    assert ["ARC, Table 2", "Something-Something V1", "8", "", "14.2", "17.2", "47.9"] in [
        paper_cells(paper) for paper in rows["arc_tsm_r18"].papers
    ]
    assert rows["slowonly_r50"].temporal == "3-D"


def test_filters_of_the_zoo() -> None:
    rows = zoo_rows()

    def names(*values: Any) -> list[str]:
        return [row.name for row in filter_rows(rows, *values)]

    assert len(names()) == len(rows)
    assert "arc_tsm_r50_8f16f" in names("ARC r50")
    assert names("ARC r50") == [name for name in names() if "arc" in name and "r50" in name]
    light = names("", ["TSM"], ["none"], 20)
    assert {"tsm_mbv2", "tsm_r18"} <= set(light)
    assert not {"tsm_r50", "arc_tsm_r18", "tsn_r18"} & set(light)
    assert names("", [], [], 0, True) == [name for name in videozoo.list_models() if videozoo.list_pretrained(name)]
    assert set(names("", [], ["DNR"], None, False, True)) < set(names("", [], ["DNR"]))
    assert names("nothing like it") == []
