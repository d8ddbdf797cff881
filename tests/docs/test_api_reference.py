"""Tests of docs/api.md and of the docstrings behind it: complete, and with examples that run."""

import doctest
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from docs_world import World
from helpers import REPO

import videozoo

PAGE = (REPO / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^::: (\S+)$", PAGE, flags=re.MULTILINE)
SLOW = {f"videozoo.{name}" for name in ("finetune", "fit", "engine.FitResult", "push_to_hub", "TEA")}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_of(name: str) -> list[doctest.DocTest]:
    """Return the examples of a public object and of its methods; each begins without any name."""
    found = doctest.DocTestFinder().find(pkgutil.resolve_name(name), name, globs={})
    return [test for test in found if test.examples]


EXAMPLES = [
    pytest.param(test, id=test.name, marks=pytest.mark.slow if test.name in SLOW else ())
    for name in NAMES
    for test in examples_of(name)
]


def test_every_public_name_is_on_the_page_once() -> None:
    objects = [pkgutil.resolve_name(name) for name in NAMES]
    assert [name for name in videozoo.__all__ if f"videozoo.{name}" not in {*NAMES, "videozoo.__version__"}] == []
    assert len({id(value) for value in objects}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    value = pkgutil.resolve_name(name)
    own = [test.name for test in examples_of(name)]
    assert name in own, f"{name} has no example in its docstring"
    assert "\nExample:\n    >>> " in inspect.cleandoc(value.__doc__)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(
    example: doctest.DocTest, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the videos that the pages of the documentation use: ``videos/``, ``more_videos/`` and ``clip.mp4``."""
    needed: dict[str, Any] = {"videos": world.videos, "more_videos": world.other_videos, "clip.mp4": world.clip}
    for name, put in needed.items():
        put(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
    assert report == []
