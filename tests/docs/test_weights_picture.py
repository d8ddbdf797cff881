"""Tests of the picture and the tables of weights in docs/guides/choose.md."""

from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import REPO, load_file_as_module
from PIL import Image

import videozoo


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    return load_file_as_module(REPO / "scripts" / "weights_picture.py")


def test_the_rows_are_the_best_weights_of_every_architecture(picture: ModuleType) -> None:
    rows = {row.name: row for row in picture.make_rows({"x3d_m": {"predict_ms": 90.0}})}
    named = [name for name in videozoo.list_models(pretrained=True) if not name.startswith("test_")]
    assert sorted(rows) == sorted(named)
    tsm = rows["tsm_r50"]
    assert next(iter(tsm.top1)) == "k400"
    best = videozoo.list_pretrained("tsm_r50", data_set="k400", sort="top1")[0]
    top1 = videozoo.get_pretrained_cfg(best).metrics["top1"]
    assert tsm.top1["k400"] == pytest.approx(100 * top1)
    assert (rows["x3d_m"].ms, tsm.ms) == (45.0, None)


def test_the_front_is_what_nothing_beats(picture: ModuleType) -> None:
    points = {"a": (1, 70.0), "b": (2, 69.0), "c": (3, 75.0), "d": (3, 74.0), "e": (9, 75.0)}
    rows = [picture.Row(name, {"k400": top1}, cost, None, 1, "MIT") for name, (cost, top1) in points.items()]
    rows.append(picture.Row("f", {"ssv2": 99.0}, 1, 5.0, 1, "MIT"))
    assert [row.name for row in picture.front(rows, "gmacs")] == ["a", "c"]
    assert picture.front(rows, "ms") == []


def test_the_page_and_the_pictures_show_the_figures_of_the_files(picture: ModuleType) -> None:
    """Otherwise: ``python scripts/weights_picture.py``."""
    rows = picture.make_rows(picture.read_times())
    text = (REPO / "docs/guides/choose.md").read_text(encoding="utf-8")
    assert text == picture.page_text(text, rows)
    for name in ("weights.png", "weights_dark.png"):
        with Image.open(REPO / "docs" / "guides" / name) as drawn:
            assert drawn.info["Source"] == picture.digest(rows)


def test_a_panel_for_each_cost_with_the_names_of_the_best(picture: ModuleType, tmp_path: Path) -> None:
    names = ["tsm_r50", "x3d_m", "uniformer_s", "tsn_r50"]
    rows = [
        picture.Row(name, {"k400": 74.0 + k}, 10.0 ** (k + 1), 5.0 * (k + 1), 1, "MIT") for k, name in enumerate(names)
    ]
    rows.append(picture.Row("tsn_r101", {"k400": 70.0}, 500.0, None, 1, "MIT"))
    figure = plt.figure(figsize=(8, 4), dpi=50)
    picture.draw(figure, rows)
    for axes in figure.axes:
        assert sorted(text.get_text() for text in axes.texts) == sorted(names)
    assert [len(axes.lines) for axes in figure.axes] == [6, 5]
    picture.save(figure, tmp_path / "a.png", rows)
    plt.close("all")
    with Image.open(tmp_path / "a.png") as drawn:
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 50
