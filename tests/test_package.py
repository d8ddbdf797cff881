"""Tests of the wheel and the sdist, installed in an empty environment."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import REPO

from videozoo.training import recipe_files

pytestmark = [pytest.mark.slow, pytest.mark.extras]

SMOKE_TEST = """
import sys
from pathlib import Path

import videozoo
from videozoo.data.motions import motion_classes, write_motions

assert Path(videozoo.__file__).is_relative_to(sys.prefix), videozoo.__file__
write_motions(Path("motions"), clips_per_class=1, val_clips_per_class=1, size=48, seed=5)
model = videozoo.create_model("test_arc_tsm", pretrained=True)
clip = next(Path("motions").rglob("*.mp4"))
prediction = videozoo.Predictor(model)(clip)
assert prediction.ok and prediction.label in motion_classes(), prediction
print(clip)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist and the wheel that is built from it."""
    for package in ("build", "hatchling", "twine"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("dist")
    # From a temporary folder, where no build/ can hide the package of that name.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPO, cwd=folder)
    return folder


def test_both_files_hold_the_whole_package(dist: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "videozoo"], cwd=REPO, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    files = set(listed.stdout.splitlines())
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert files | {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "hubconf.py"} <= names


def test_the_package_index_accepts_both(dist: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)


def test_an_empty_environment_runs_the_wheel(dist: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment, which a .pth file adds behind the installed wheel."""
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", next(dist.glob("*.whl")), cwd=tmp_path)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    videozoo = python.with_name("videozoo")

    assert run(videozoo, "--version", cwd=tmp_path).startswith("videozoo ")
    assert "arc_tsm_r50" in run(videozoo, "list", cwd=tmp_path)
    clip = run(python, "-c", SMOKE_TEST, cwd=tmp_path).strip()
    assert clip in run(videozoo, "predict", "--model", "test_dnr_tsn", clip, cwd=tmp_path)
    assert "--recipe" in run(videozoo, "finetune", "--help", cwd=tmp_path)
    names = "from videozoo.training import recipe_files as r; print(*r.recipe_names())"
    assert run(python, "-c", names, cwd=tmp_path).split() == recipe_files.recipe_names()
