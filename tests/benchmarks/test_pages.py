"""Tests that the pages of benchmarks are what their scripts write from the committed JSON files."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import REPO, load_file_as_module

FOLDER = REPO / "benchmarks"
pytestmark = pytest.mark.slow


def _script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return load_file_as_module(FOLDER / f"{name}.py")


@pytest.mark.parametrize(
    "name", ["batch_norm", "loader", "long_files", "order4", "robustness", "scaling", "streaming", "zoo"]
)
def test_page_is_written_from_its_json(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, result = _script(name, monkeypatch), json.loads((FOLDER / f"{name}.json").read_text())
    arguments: dict[str, list[Any]] = {
        "batch_norm": [result.get("rows"), result.get("machine")],
        "order4": [result.get("rows"), result.get("shared", []), result.get("machine")],
        "scaling": [result, "scaling.png"],
    }
    assert (FOLDER / f"{name}.md").read_text() == script.page(*arguments.get(name, [result]))


def test_the_page_of_other_packages_is_written_from_its_json(monkeypatch: pytest.MonkeyPatch) -> None:
    script, result = _script("peers_page", monkeypatch), json.loads((FOLDER / "peers.json").read_text())
    assert (FOLDER / "peers.md").read_text() == script.page(result)


def test_export_page_is_written_from_its_json(monkeypatch: pytest.MonkeyPatch) -> None:
    script, written = _script("export", monkeypatch), {}

    def write(path: Path, text: str) -> None:
        written[path.name] = text

    monkeypatch.setattr(script, "write", write)
    script.write_page()
    assert written == {"export.md": (FOLDER / "export.md").read_text()}
