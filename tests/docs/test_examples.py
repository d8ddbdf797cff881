"""Tests that run the files of examples/ on small generated videos."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from docs_world import World
from helpers import REPO

EXAMPLES = REPO / "examples"


def run_notebook(path: Path) -> dict[str, Any]:
    """Run the code cells of a notebook in order in the current folder and return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    plt.close("all")
    return names


def test_the_list_has_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert [name for name in files if f"({name})" not in readme] == []


def test_notebooks_are_stored_without_outputs() -> None:
    for path in EXAMPLES.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), f"{path.name}: clear the outputs"


def test_the_training_loop_is_short() -> None:
    assert len((EXAMPLES / "train.py").read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.slow
def test_the_training_loop_writes_a_model(world: World, tmp_path: Path) -> None:
    data = ["--train", str(world.motions / "train"), "--val", str(world.motions / "val")]
    options = ["--model", "test_arc_tsm", "--img-size", "48", "--epochs", "2", "--workers", "0", "--output", "run"]
    command = [sys.executable, str(EXAMPLES / "train.py"), *data, *options]
    environment = {"PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("top-1") == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_finetune_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_notebook(EXAMPLES / "finetune.ipynb")
    assert len(names["result"].history) == 2
    assert names["measured"].num_views == 2
    assert names["answer"].ok


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_predict_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_notebook(EXAMPLES / "predict.ipynb")
    assert names["answer"].label == names["label"] == "rising"
    assert names["features"].ndim == 1
