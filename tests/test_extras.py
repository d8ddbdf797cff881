"""Tests of optional packages: the table matches pyproject, and errors name the command to install."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import REPO

from videozoo.cli import main
from videozoo.extras import EXTRAS, MissingPackageError, check_installed, require


def test_the_table_is_that_of_pyproject() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        assert set(packages) == {re.split(r"[\[>=<]", line)[0] for line in declared[extra]}


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError) as caught:
        check_installed("export to ONNX", *EXTRAS["export"])
    message = str(caught.value)
    assert "export to ONNX needs onnx and onnxscript: pip install onnx onnxruntime onnxscript" in message
    assert 'pip install ".[export]"' in message
    with pytest.raises(ImportError):
        require("onnx.helper", "int8 weights")


# None of the videos and lists exists: the package is asked for before anything is read.
@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("onnxruntime", "predict --model no.onnx no.mp4"),
        ("pyarrow", "predict --model test_arc_tsm.motions --input no.txt --output scores.parquet"),
        ("pyarrow", "extract --model test_arc_tsm.motions --input no.txt --output features.parquet"),
        ("onnxscript", "export --model test_arc_tsm.motions --output mine.onnx"),
        ("gradio", "demo"),
        ("tensorboard", "finetune --model tsn_r18 --data no --output no_run --log-with tensorboard"),
    ],
)
def test_commands_ask_for_packages_first(
    package: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no.onnx").touch()
    monkeypatch.setitem(sys.modules, package, None)
    assert main(command.split()) == 2
    error = capsys.readouterr().err.strip()
    assert f"needs {package}: pip install" in error
    assert len(error.splitlines()) == 1
