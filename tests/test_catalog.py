"""The file of names is what the registry holds, and a list of names loads nothing heavy."""

import subprocess
import sys

import pytest
from helpers import REPO

import videozoo
from videozoo import catalog


def test_the_file_of_names_is_that_of_the_registry() -> None:
    names = catalog.read_names()
    assert names is not None, "run python scripts/write_names.py"
    assert list(names) == videozoo.list_models()
    assert [f"{arch}.{tag}" for arch, tags in names.items() for tag in tags] == videozoo.list_pretrained()


def test_a_file_out_of_date_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_digest", lambda: "another")
    assert catalog.read_names() is None


@pytest.mark.parametrize("argv", [[], ["arc_*"], ["--pretrained", "k400"], ["--json"]], ids=str)
def test_a_list_of_names_loads_nothing_heavy(argv: list[str]) -> None:
    code = "import sys; from videozoo.cli import main; s = main(); print('torch' in sys.modules); sys.exit(s)"
    done = subprocess.run(
        [sys.executable, "-c", code, "list", *argv], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) > 1
