"""Tests of the file of names and that listing names imports nothing heavy."""

import subprocess
import sys

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
    monkeypatch.setattr(script, "_bytes_of", lambda *_: 0)
    made = {arch: {tag: {**facts, "bytes": 0} for tag, facts in tags.items()} for arch, tags in found.items()}
    assert script.make_catalog() == made, "run python scripts/write_names.py"


@pytest.mark.slow
def test_the_sizes_are_those_of_the_models() -> None:
    script = load_file_as_module(REPO / "scripts" / "write_names.py")
    assert script.make_catalog() == catalog.read_catalog(), "run python scripts/write_names.py"


def test_the_costs_are_of_every_architecture() -> None:
    assert catalog.read_costs().keys() == set(videozoo.list_models()), "run python scripts/model_cards.py"


def test_a_file_out_of_date_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_digest", lambda: "another")
    assert catalog.read_catalog() is None


@pytest.mark.parametrize("argv", [[], ["arc_*"], ["--pretrained", "k400"], ["--json"]], ids=str)
def test_a_list_of_names_does_not_import_torch(argv: list[str]) -> None:
    code = "import sys; from videozoo.cli import main; s = main(); print('torch' in sys.modules); sys.exit(s)"
    done = subprocess.run(
        [sys.executable, "-c", code, "list", *argv], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) > 1
