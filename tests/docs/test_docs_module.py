"""Tests that the diffs of docs/guides/module.md apply and that the added model passes the conformance tests."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import read_blocks
from helpers import REPO

PAGE = "docs/guides/module.md"
_ASK = """
import json, torch, videozoo
from videozoo.report import count_cost

with torch.device("meta"):
    cost = count_cost(videozoo.create_model("timegate_r50"))
print(json.dumps([cost.params / 1e6, cost.gmacs]))
model = videozoo.create_model("timegate_r18", num_classes=3)
again = videozoo.ModelSpec.from_dict(json.loads(json.dumps(model.spec.to_dict())))
assert again == model.spec
try:
    model.streaming()
except ValueError as error:
    print(error)
"""


def _apply(folder: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git to apply a diff")
    diff = "".join(block.code for block in read_blocks(PAGE) if block.language == "diff")
    for name in re.findall(r"^--- a/(.*)$", diff, re.MULTILINE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            shutil.copyfile(REPO / name, folder / name)
    done = subprocess.run(["git", "apply", "-"], cwd=folder, input=diff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{PAGE} does not fit the package any more: {done.stderr}"


def test_the_diffs_fit_the_package(tmp_path: Path) -> None:
    _apply(tmp_path)
    assert (tmp_path / "videozoo/layers/temporal_gate.py").exists()


@pytest.mark.slow
def test_the_added_model_passes_the_conformance_suite(tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "videozoo", tmp_path / "videozoo", ignore=skip)
    shutil.copytree(REPO / "tests", tmp_path / "tests", ignore=skip)
    shutil.copyfile(REPO / "pyproject.toml", tmp_path / "pyproject.toml")
    _apply(tmp_path)

    def python(*args: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        environment.pop("PYTEST_XDIST_WORKER", None)
        done = subprocess.run(
            [sys.executable, *args],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    suite = python(
        "-m", "pytest", "-rp", "-p", "no:xdist", "tests/test_models.py", "-k", "timegate_r18", "-m", "slow or not slow"
    )
    passed = set(re.findall(r"^PASSED .*::(\w+)\[(?:small )?timegate_r18\]", suite, re.MULTILINE))
    assert {
        "test_logits_of_a_clip_do_not_depend_on_its_batch_mates",
        "test_order_of_frames_matters_unless_no_part_mixes_time",
        "test_every_part_acts",
        "test_every_parameter_gets_a_gradient",
        "test_other_numbers_of_frames",
        "test_channels_last",
        "test_exports_with_a_free_batch",
    } <= passed
    costs, refusal = python("-c", _ASK).splitlines()
    params, gmacs = json.loads(costs)
    text = (REPO / PAGE).read_text(encoding="utf-8")
    assert f"{params:.3f} M parameters and {gmacs:.3f} GMACs" in text.replace("\n", " ")
    assert "TemporalGate sees whole clips" in refusal
    python("-m", "pytest", "-q", "-p", "no:xdist", "tests/test_import_order.py", "tests/test_docstrings.py")
