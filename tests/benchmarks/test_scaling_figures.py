"""Tests of the figures that ``benchmarks/scaling.py`` computes from measured times."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import REPO, load_file_as_module


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    return load_file_as_module(REPO / "benchmarks" / "scaling.py")


def result() -> dict[str, Any]:
    times = {1: [10.0, 30.0], 2: [11.0, 33.0], 4: [12.0, 36.0], 8: [15.0, 45.0]}
    points = [
        {"model": "arc_tsm_r18", "task": task, "value": n, "macs": 100 + n, "ms": ms, "tensors": 50.0 + n}
        for task in ("inference", "training")
        for n, ms in times.items()
    ]
    start = {"timm resnet18": [[2.0, 0.1, 0.2]], "tsm_r18": [[2.2, 0.15, 0.2]]}
    texts = {"machine": "a machine", "versions": "versions", "commit": "abc", "rounds": 2}
    return {**texts, "curves": {"steps": points}, "start_up": start}


def test_ratios_to_the_first_point_are_taken_round_by_round(scaling: ModuleType) -> None:
    last = scaling.scaling_rows(result()["curves"]["steps"])[3]
    assert last["time"] == pytest.approx(1.5)
    assert last["macs"] == pytest.approx(108 / 101)
    assert last["over_macs"] == pytest.approx(1.5 * 101 / 108)
    assert last["memory"] == pytest.approx(58 / 51)


def test_the_page_lists_the_largest_ratio_of_each_curve(scaling: ModuleType) -> None:
    text = scaling.page(result(), "scaling.png")
    assert "* steps n of ARC: time grows at most 1.40 times as much as the MACs (arc_tsm_r18, inference, 8)" in text
    assert "* start-up of tsm_r18 over timm's resnet18: import 1.10, create_model 1.50, first prediction 1.00" in text
    assert "| arc_tsm_r18 | training | 8 | 30 | 58 | 1.50 | 1.07 | 1.40 | 1.14 |" in text


def test_the_plot_is_a_picture(scaling: ModuleType, tmp_path: Path) -> None:
    scaling.plot(result(), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["scaling.png"]
