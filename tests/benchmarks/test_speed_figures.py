"""Tests of the figures that ``benchmarks/speed.py`` computes from measured times."""

import copy
import json
from types import ModuleType
from typing import Any

import pytest
from helpers import REPO, load_file_as_module


@pytest.fixture
def figures() -> ModuleType:
    return load_file_as_module(REPO / "benchmarks" / "speed_targets.py")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    return load_file_as_module(REPO / "benchmarks" / "speed_page.py")


def section(rows: dict[str, list[float]], **settings: Any) -> dict[str, Any]:
    """Return a section as ``speed.py`` writes it."""
    defaults = {"task": "inference", "depth": "r18", "batch": 1, "dtype": "float32", "layout": "channels_last"}
    entries = {row: {"ms": times} for row, times in rows.items()}
    return {**defaults, "base": "timm resnet18", "rounds": 3, "skipped": {}, **settings, "rows": entries}


@pytest.fixture
def result() -> dict[str, Any]:
    times = {
        "timm resnet18": [100.0, 200.0, 100.0],
        "tsn_r18": [104.0, 206.0, 102.0],
        "tsm_r18": [110.0, 220.0, 110.0],
        "arc_tsm_r18": [143.0, 286.0, 143.0],
        "tdn_r18": [132.0, 264.0, 132.0],
        "tsm_r18, compiled": [80.0, 160.0, 80.0],
        "arc_tsm_r18, compiled": [92.0, 184.0, 92.0],
        "fuse tsm_r18": [77.0, 154.0, 77.0],
    }
    first = section(times)
    first["rows"]["fuse tsm_r18"]["difference"] = 2e-5
    first["skipped"] = {"fuse tsn_r18": "no reason"}
    memory = {"timm resnet18": 200.0, "arc_tsm_r18 n=1": 100.0, "arc_tsm_r18 n=4 recompute": 120.0}
    return {
        "machine": "a machine",
        "versions": "versions",
        "commit": "abc",
        "minutes": 1.0,
        "matrix_rate": {"float32": 1e12},
        "macs": {"timm resnet18": 1e10, "tsm_r18": 1e10, "tdn_r18": 1.5e10},
        "memory": {"training batch 1": {row: {"tensors": mb} for row, mb in memory.items()}},
        "loading": {"a kind": {"time_ratio": 0.9, "time_ratio_low": 0.8, "time_ratio_high": 1.0}},
        "sections": {"inference r18": first, "inference r18 batch 4": section(times, batch=4)},
    }


def verdicts(figures: ModuleType, result: dict[str, Any]) -> dict[tuple[str, str], tuple[float | None, str]]:
    """Return measured figure and verdict by target."""
    return {
        (t.what, t.where): (None if t.value is None else round(t.value.median, 6), t.verdict)
        for t in figures.targets(result)
    }


def test_ratios_are_taken_round_by_round(figures: ModuleType, result: dict[str, Any]) -> None:
    one = result["sections"]["inference r18"]
    # The ratio of the medians is 1.04.
    assert figures.ratio(one, "tsn_r18", "timm resnet18") == figures.Spread(
        1.03, pytest.approx(1.025), pytest.approx(1.035)
    )
    assert figures.ratio(one, "tsn_r18", "missing") is None


def test_targets_are_met_missed_or_not_measured(figures: ModuleType, result: dict[str, Any]) -> None:
    found = verdicts(figures, result)
    assert found["tsn_r18 over timm resnet18", "inference, batch 1"] == (1.03, "met")
    assert found["tsm_r18 over timm resnet18", "inference, batch 1"] == (1.1, "not met")
    assert found["tsm_r50 over timm resnet50", "inference, batch 1"] == (None, "not measured")
    assert found["tdn_r18 over tsm_r18, over the ratio of MACs", "inference, batch 1"] == (0.8, "met")
    assert found["fuse tsm_r18 over tsm_r18", "inference, batch 1"] == (0.7, "met")
    assert found["fuse tsm_r18: largest difference over largest output", "inference, batch 1"] == (2e-5, "met")
    memory = found["arc_tsm_r18 n=4 recompute over arc_tsm_r18 n=1", "peak memory, training, batch 1"]
    assert memory == (1.2, "met")
    assert found["decoding and transforms over a bare PyAV loop", "a kind"] == (0.9, "met")


def test_the_fastest_mode_of_each_is_compared(figures: ModuleType, result: dict[str, Any]) -> None:
    what = "arc_tsm_r18 over tsm_r18, each at its fastest"
    rows = result["sections"]["inference r18"]["rows"]
    rows["fuse arc_tsm_r18"] = {"ms": [84.7, 169.4, 84.7]}
    assert verdicts(figures, result)[what, "inference, batch 1 (fused over fused)"] == (1.1, "met")
    del rows["fuse tsm_r18"], rows["fuse arc_tsm_r18"]
    assert verdicts(figures, result)[what, "inference, batch 1 (compiled over compiled)"] == (1.15, "met")
    del rows["arc_tsm_r18, compiled"]
    assert verdicts(figures, result)[what, "inference, batch 1 (eager over compiled)"] == (1.7875, "not met")


def test_only_regressions_beyond_the_spread_are_reported(figures: ModuleType, result: dict[str, Any]) -> None:
    now = copy.deepcopy(result)
    assert figures.worse(result, now) == []
    rows = now["sections"]["inference r18"]["rows"]
    rows["tsm_r18"]["ms"] = [time * 1.2 for time in rows["tsm_r18"]["ms"]]
    rows["tsn_r18"]["ms"] = [90.0, 230.0, 140.0]  # worse at the median, but spread wide
    rows["arc_tsm_r18"]["ms"] = [time * 1.01 for time in rows["arc_tsm_r18"]["ms"]]
    now["memory"]["training batch 1"]["arc_tsm_r18 n=1"]["tensors"] = 150.0
    lines = figures.worse(result, now)
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "time of tsm_r18 over timm resnet18",
        "memory of arc_tsm_r18 n=1 over timm",
    ]
    assert "1.100 (1.100 to 1.100) -> 1.320" in lines[0]


def test_the_page_shows_what_was_measured(page: ModuleType, result: dict[str, Any]) -> None:
    text = page.page(result)
    assert "| `tsm_r18` | 10.0 | 110 | 77 |  |  |\n| `tdn_r18` | 15.0 | 132 |" in text
    assert "| tsm_r18 over timm resnet18 | inference, batch 1 | 1.10 | 1.05 | not met |" in text
    assert "| tdn_r18 | 132.0 (132.0 to 198.0) | 7.6 | 1.320 (1.320 to 1.320) | 1.500 | 0.880 | 11% |  |" in text
    assert "skipped: fuse tsn_r18 (no reason)" in text
    assert "| arc_tsm_r18 n=4 recompute | training batch 1 | 120 | 0.60 |  |" in text
    result["sections"]["inference r18"]["rows"]["tsm_r18"]["ms"] = [103.0, 206.0, 103.0]
    assert "| tsm_r18 over timm resnet18 | inference, batch 1 | 1.03 | 1.05 | met |" in page.page(result)


def test_the_committed_page_is_written_from_the_committed_json(page: ModuleType) -> None:
    path = REPO / "benchmarks" / "speed.json"
    if not path.exists():
        pytest.skip("no speed.json")
    assert path.with_suffix(".md").read_text() == page.page(json.loads(path.read_text()))
