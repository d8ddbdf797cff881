"""Tests of the docstrings: one sentence per public name, and examples that run."""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest

import videozoo

PACKAGES = ["videozoo"] + [f"videozoo.{m.name}" for m in pkgutil.iter_modules(videozoo.__path__) if m.ispkg]
MODULES = ["videozoo"] + [
    m.name for m in pkgutil.walk_packages(videozoo.__path__, "videozoo.") if not m.name.endswith("__main__")
]


def public_objects() -> list[Any]:
    """Return the classes and functions that the package and its subpackages export."""
    rows = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                rows[f"{package}.{name}"] = pytest.param(value, id=f"{package}.{name}")
    return list(rows.values())


def problems_of(doc: str | None) -> str | None:
    """Return the problems of the first line of a docstring."""
    if not doc or not doc.strip():
        return "no docstring"
    first = inspect.cleandoc(doc).splitlines()[0].strip()
    if not first.endswith("."):
        return f"the first line is no sentence: {first!r}"
    if re.search(r"[^.][.!?]\s+[A-Z]", re.sub(r"\b(e\.g|i\.e|et al|vs|eq|Eq|Sec)\.", "", first)):
        return f"the first line is more than one sentence: {first!r}"
    return None


@pytest.mark.parametrize("value", public_objects())
def test_public_names_begin_with_one_sentence(value: Any) -> None:
    doc = value.__doc__
    if inspect.isclass(value) and any(doc is base.__doc__ for base in value.__mro__[1:]):
        doc = None  # inherited words say nothing about this class
    assert problems_of(doc) is None
    if inspect.isclass(value) and hasattr(value, "__dataclass_fields__"):
        assert not doc.startswith(f"{value.__name__}("), "the words are those that dataclass makes up"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__


def test_methods_of_the_model_have_docstrings() -> None:
    missing = [
        name
        for name, value in vars(videozoo.VideoNet).items()
        if not name.startswith("_") and name != "forward" and callable(value) and not value.__doc__
    ]
    assert not missing


def test_the_check_itself() -> None:
    assert problems_of("One sentence (eq. 4).") is None
    assert problems_of("One. Two.") is not None
    assert problems_of("No end") is not None
    assert problems_of(None) is not None
