"""Tests that the plots of docs/guides/choose.md match the papers' figures and the measured times."""

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import REPO, load_file_as_module
from PIL import Image

picture = load_file_as_module(REPO / "scripts" / "tradeoff_picture.py")
TEXT = (REPO / "docs/guides/choose.md").read_text(encoding="utf-8").replace("\n", " ")
RESULT = {
    "machine": "a machine",
    "macs": {"timm resnet18": 100, "tsm_r18": 100, "arc_tsm_r18": 115},
    "sections": {
        "it": {"task": "inference", "depth": "r18", "batch": 1, "dtype": "float32", "layout": "channels_last"}
        | {"base": "timm resnet18"}
        | {
            "rows": {
                "timm resnet18": {"ms": [10.0, 11.0, 12.0]},
                "tsm_r18": {"ms": [12.0, 12.5, 13.0]},
                "arc_tsm_r18": {"ms": [20.0, 20.0, 24.0]},
                "tsm_r18, compiled": {"ms": [1.0, 1.0, 1.0]},
                "fuse tsm_r18": {"ms": [1.0, 1.0, 1.0]},
            }
        },
        "training": {"task": "training", "depth": "r18", "batch": 1, "dtype": "float32", "layout": "channels_last"},
        "peers": {"task": "inference", "depth": "peers", "batch": 1, "dtype": "float32", "layout": "channels_last"},
    },
}


def test_points_are_the_rows_of_the_papers() -> None:
    points = {point.label: point for point in picture.published("sthsth_v1")}
    arc = points["arc_tsm_r50"]
    assert (arc.gmacs, arc.top1, arc.kind, arc.base) == (37, 51.2, "arc", "tsm_r50")
    assert points["tsm_r50"].top1 == 47.8
    assert points["arc_tsm_r50 16f"].base == "tsm_r50 16f"
    assert points["arc_tsm_r50_8f16f"].top1 == 55.0
    points = {point.label: point for point in picture.published("kinetics400")}
    dnr = points["dnr_tsn_r50"]
    assert (dnr.gmacs, dnr.top1, points[dnr.base].top1) == (33 * 30, 74.35, 71.65)
    points = {point.label for point in picture.published("sthsth_v1")}
    assert "i3d_r50 32f" in points
    assert not [label for label in points if "corrnet" in label], "not in the zoo"


@pytest.mark.parametrize(("dataset", "kind"), [("sthsth_v1", "arc"), ("kinetics400", "dnr")])
def test_the_gains_in_the_text_are_those_of_the_points(dataset: str, kind: str) -> None:
    points = {point.label: point for point in picture.published(dataset)}
    pairs = [(point, points[point.base]) for point in points.values() if point.kind == kind and point.base in points]
    assert len(pairs) >= 4
    gains = [after.top1 - before.top1 for after, before in pairs]
    assert f"gains {min(gains):.1f} to {max(gains):.1f} points" in TEXT
    costs = [after.gmacs / before.gmacs - 1 for after, before in pairs]
    more = f"for {min(costs) * 100:.0f} to {max(costs) * 100:.0f} % more GMACs"
    assert more in TEXT if kind == "arc" else max(costs) == 0


def test_the_losses_with_small_batches_are_the_paper_s() -> None:
    rows = picture.load_papers()["rows"]
    table = {
        (row["model"], row["options"]["clips_per_gpu"]): row["top1"]
        for row in rows
        if (row["paper"], row["table"]) == ("dnr", "3")
    }
    lost = {name: table[name, 8] - table[name, 4] for name in ("tsn", "dnr_tsn")}
    assert f"TSN loses {lost['tsn']:.1f} points, with DNR {lost['dnr_tsn']:.1f}" in TEXT


def _source(name: str) -> str:
    with Image.open(REPO / "docs" / "guides" / name) as drawn:
        return str(drawn.info["Source"])


def test_the_pictures_show_the_figures_of_the_files() -> None:
    """Otherwise: ``python scripts/tradeoff_picture.py``."""
    for name in ("tradeoff.png", "tradeoff_dark.png"):
        assert _source(name) == picture.digest([picture.published(dataset) for dataset in picture.TABLES])
    speed = REPO / "benchmarks" / "speed.json"
    if not speed.exists():
        pytest.skip("no benchmarks/speed.json")
    assert _source("speed.png") == picture.digest(picture.measured(json.loads(speed.read_text())))


@pytest.mark.slow
def test_both_pictures_are_drawn(tmp_path: Path) -> None:
    figure = plt.figure(figsize=(8, 4), dpi=50)
    picture.draw_tradeoff(figure)
    picture.save(figure, tmp_path / "a.png", 1)
    figure = plt.figure(figsize=(6, 3), dpi=50)
    picture.draw_speed(figure, RESULT)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["backbone alone", "tsm", "arc_tsm"]
    assert [bar.get_width() for bar in axes.patches] == [11.0, 12.5, 20.0]
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert all(math.isclose(a, b) for a, b in zip(marks, [11.0, 11.0, 12.65], strict=True))
    picture.save(figure, tmp_path / "b.png", 2)
    plt.close("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as drawn:
            assert len(np.unique(np.asarray(drawn.convert("L")))) > 50


def test_no_name_covers_an_arrow_a_point_or_another_name() -> None:
    figure = plt.figure(**picture.FIGURE)
    picture.draw_tradeoff(figure)
    renderer = figure.canvas.get_renderer()
    for axes, dataset in zip(figure.axes, picture.TABLES, strict=True):
        names = {point.label for point in picture.published(dataset)}
        boxes = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts if text.get_text() in names}
        assert len(boxes) >= 12
        points = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
        arrows = [text.arrow_patch.get_path() for text in axes.texts if text.arrow_patch is not None]
        assert len(arrows) >= 4
        curves = [np.concatenate(path.to_polygons(closed_only=False)) for path in arrows]
        for name, box in boxes.items():
            assert not any(box.contains(*pixel) for pixel in np.concatenate([*points, *curves])), name
            assert not any(box.overlaps(other) for other in boxes.values() if other is not box), name
    plt.close("all")
