"""Tests that ``import videozoo`` is light and that timm's registry has the models in either import order."""

import subprocess
import sys

import pytest
from helpers import REPO

KNOWN = "import timm; print(timm.is_model('tsm_r18'), timm.get_pretrained_cfg('tsm_r18').num_frames)"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True).stdout


def test_the_package_alone_does_not_import_torch() -> None:
    assert run("import videozoo, sys; print({'torch', 'timm', 'numpy'} & set(sys.modules))") == "set()\n"


@pytest.mark.parametrize(
    "code",
    [
        "import videozoo",
        pytest.param("import timm, videozoo", marks=pytest.mark.slow),
        "from videozoo.surgery import find_blocks",  # loads timm itself, half way through what models needs
        pytest.param("from videozoo.engine import fit", marks=pytest.mark.slow),
        # looks for timm and does not load it
        pytest.param("import videozoo, importlib.util; importlib.util.find_spec('timm')", marks=pytest.mark.slow),
    ],
)
def test_the_architectures_are_in_timms_registry(code: str) -> None:
    assert run(f"{code}; {KNOWN}") == "True 8\n"


@pytest.mark.slow
def test_the_import_hook_is_removed_once_timm_is_loaded() -> None:
    code = "import videozoo, timm, sys; print([f for f in sys.meta_path if type(f).__module__ == 'videozoo.in_timm'])"
    assert run(code) == "[]\n"
