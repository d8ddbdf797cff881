"""Tests of the file of names and that listing names imports nothing heavy."""

import subprocess
import sys
from typing import Any

import pytest
from helpers import REPO, load_file_as_module

import videozoo
from videozoo import catalog


def test_the_file_of_names_is_that_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalog.read_catalog()
    assert found is not None, "run python scripts/write_names.py"
    assert list(found) == videozoo.list_models()
    assert [f"{arch}.{tag}" for arch, tags in found.items() for tag in tags] == videozoo.list_pretrained()
    script = load_file_as_module(REPO / "scripts" / "write_names.py")
    small = script.facts_of("test_arc_tsm.motions")
    assert small == found["test_arc_tsm"]["motions"]
    weights = REPO / "videozoo" / "models" / "bundled" / "test_arc_tsm" / "model.safetensors"
    assert 0 <= weights.stat().st_size - small["bytes"] < 0.1 * small["bytes"], "the rest is the file's head"
    counts = {"macs": 0, "params": 0, "bytes": 0}
    monkeypatch.setattr(script, "counts_of", lambda *_: counts)
    made = {arch: {tag: {**facts, **counts} for tag, facts in tags.items()} for arch, tags in found.items()}
    assert script.make_catalog() == made, "run python scripts/write_names.py"


@pytest.mark.slow
def test_the_sizes_are_those_of_the_models() -> None:
    script = load_file_as_module(REPO / "scripts" / "write_names.py")
    found = catalog.read_catalog()
    assert found is not None
    for name in videozoo.list_pretrained()[::4]:  # to count all of them takes minutes
        arch, _, tag = name.partition(".")
        assert script.facts_of(name) == found[arch][tag], "run python scripts/write_names.py"


def test_the_costs_are_of_every_architecture() -> None:
    assert catalog.read_costs().keys() == set(videozoo.list_models()), "run python scripts/model_cards.py"


def test_rows_are_selected_and_sorted() -> None:
    rows = {
        "a": {"dataset": "Kinetics-400", "top1": 0.7, "macs": 3_000_000_000, "params": 2_000_000},
        "b": {"dataset": "Kinetics-400", "top1": None, "macs": 1_000_000_000, "params": 9_000_000},
        "c": {"dataset": "Kinetics-400", "top1": 0.8, "macs": None, "params": 1_000_000},
        "d": {"dataset": "My set", "top1": 0.7, "macs": 3_000_000_001, "params": 1_000_000},
    }

    def names(**limits: Any) -> str:
        return "".join(catalog.select_rows(rows, **limits))

    assert names() == "abcd"
    assert names(sort="top1") == "cadb"
    assert names(sort="gmacs") == "badc"
    assert names(max_gmacs=3) == "ab", "what has no figure fits no limit"
    assert names(max_params=2, sort="params") == "cda"
    assert names(data_set="K400", max_gmacs=2.5) == names(data_set="kinetics-400", max_gmacs=2.5) == "b"
    assert names(data_set="my set") == "d"
    with pytest.raises(ValueError, match="choose k400, My set"):
        names(data_set="ssv2")
    with pytest.raises(ValueError, match="cannot sort by 'acc'; choose top1, gmacs, params, mb"):
        names(sort="acc")
    for wrong in (0, -1, float("nan"), "10", True):
        with pytest.raises(ValueError, match=r"the limit on GMACs is .*; give a number above 0"):
            names(max_gmacs=wrong)


def test_weights_are_listed_by_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    by_top1 = videozoo.list_pretrained("tsm_*", data_set="k400", max_gmacs=40, sort="top1")
    assert by_top1[0] == "tsm_r50.mm_k400_dense_8f"
    assert by_top1[-1] == "tsm_mbv2.mit_k400_dense_8f"
    assert videozoo.list_pretrained("tsm_*", data_set="k400", sort="gmacs")[0] == by_top1[-1]
    monkeypatch.setattr(catalog, "_digest", lambda: "another")
    ssv1 = videozoo.list_pretrained(data_set="ssv1", sort="top1")
    assert ssv1[0] == "tpn_tsm_r50.mm_ssv1_8f", "what the records say is known without the file"


def test_a_file_out_of_date_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_digest", lambda: "another")
    assert catalog.read_catalog() is None


@pytest.mark.parametrize("argv", [[], ["arc_*"], ["--pretrained", "k400", "--sort", "top1"], ["--json"]], ids=str)
def test_a_list_of_names_does_not_import_torch(argv: list[str]) -> None:
    code = "import sys; from videozoo.cli import main; s = main(); print('torch' in sys.modules); sys.exit(s)"
    done = subprocess.run(
        [sys.executable, "-c", code, "list", *argv], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) > 1
