"""Tests of the names of videozoo: all of them, nothing else, with their types, without heavy imports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPO

import videozoo

SUBPACKAGES = sorted(path.parent.name for path in (REPO / "videozoo").glob("*/__init__.py"))
USER_FILE = """
import videozoo
from videozoo import TSM, Predictor, create_model, fit

model = create_model("tsm_r18", num_classes=3)
reveal_type(model)
reveal_type(videozoo.compose("resnet18", TSM()))
reveal_type(videozoo.load_source("videos").class_names)
reveal_type(Predictor("tsm_r18.mm")("clip.mp4"))
reveal_type(videozoo.finetune(output="run").best_epoch)
videozoo.FitConfig(epochs="3")
"""


def test_dir_lists_public_names_and_subpackages() -> None:
    assert dir(videozoo) == sorted([*videozoo.__all__, *SUBPACKAGES])
    assert not set(videozoo.__all__) & set(SUBPACKAGES)


def test_names_lead_to_objects_of_their_name_after_all_subpackages_are_imported() -> None:
    for name in SUBPACKAGES:
        assert getattr(videozoo, name).__name__ == f"videozoo.{name}"
    for name in set(videozoo.__all__) - {"__version__"}:
        assert getattr(videozoo, name).__name__ == name


def test_settings_need_no_torch() -> None:
    code = "import sys, videozoo; dir(videozoo); videozoo.FitConfig; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout == "False\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'videozoo' has no attribute 'creat_model'"):
        videozoo.creat_model  # noqa: B018


@pytest.mark.slow
@pytest.mark.extras
def test_mypy_sees_the_types_in_a_user_file(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER_FILE)
    command = [sys.executable, "-m", "mypy", str(tmp_path / "user.py")]  # with the cache of the package's own check
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO)
    assert re.findall(r'type is "(.*)"', done.stdout) == [
        "videozoo.models.video_net.VideoNet | videozoo.models.ensemble.Ensemble",
        "videozoo.models.video_net.VideoNet",
        "tuple[str, ...]",
        "videozoo.jobs.prediction.Prediction",
        "int",
    ]
    assert re.findall(r"error: (.*)", done.stdout) == [
        'Argument "epochs" to "FitConfig" has incompatible type "str"; expected "int"  [arg-type]'
    ]
