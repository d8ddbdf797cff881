"""Tests of the import order of the subpackages."""

import sys
from pathlib import Path

import pytest
from helpers import REPO, imports_of

PACKAGE = REPO / "videozoo"
# Subpackages that each subpackage may import, in addition to itself and those that all may import.
_BY_ALL = {"version", "catalog", "text", "names", "bounds", "choices", "devices", "ranges", "files", "extras"}
_BY_ALL |= {"batched_forward", "freed_memory", "launch", "fit_config", "arguments", "probabilities"}
_CORE = {"autograd", "shapes", "layers", "nets", "surgery"}
_MODELS = _CORE | {"temporal", "augment", "hub", "models"}
_DATA = {"video", "data"}
ALLOWED: dict[str, set[str]] = {
    **{name: set() for name in sorted(_BY_ALL)},
    "autograd": set(),
    "shapes": {"autograd"},
    "layers": {"autograd", "shapes"},
    "nets": {"shapes", "layers"},
    "surgery": {"autograd", "shapes", "layers", "nets"},
    "temporal": _CORE,
    "augment": _CORE,
    "hub": set(),
    "models": _MODELS,
    "report": _MODELS,
    "video": set(),
    "data": {"video"},
    "engine": set(),
    "explain": _MODELS | _DATA | {"engine"},
    "export": _MODELS | _DATA | {"report"},
    "jobs": _MODELS | _DATA | {"engine"},
    "inference": _MODELS | _DATA | {"engine", "explain", "export", "jobs"},
    "training": _MODELS | _DATA | {"engine", "explain", "jobs", "inference"},
    "publish": _MODELS | _DATA | {"report", "engine"},
    "demo": _MODELS | _DATA | {"report", "explain", "engine", "jobs", "inference"},
    "cli": _MODELS
    | _DATA
    | {"report", "explain", "export", "engine", "jobs", "inference", "training", "publish", "demo"},
    "__main__": {"cli"},
    # The package re-exports their names.
    "__init__": {"in_timm", "temporal", "augment", "models", "data", "engine", "inference", "training", "publish"},
    "in_timm": {"models"},
}
TIMM_MODELS = ("surgery/sites.py", "models/", "nets/", "temporal/blocks.py", "temporal/tdn.py", "temporal/tea.py")
FILES = sorted(PACKAGE.rglob("*.py"))


def subpackage_of(path: Path) -> str:
    """Return the subpackage of a file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_subpackage_imports_only_those_above_it(path: Path) -> None:
    subpackage = subpackage_of(path)
    assert subpackage in ALLOWED, f"{subpackage} is a new subpackage: add it to ALLOWED"
    wrong = []
    for line, name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "videozoo":
            other = rest.partition(".")[0]
            if other not in ALLOWED:  # `from videozoo import create_model`: the public names are those of models
                other = "models" if other and other != "__version__" else "version"
            if other not in {subpackage} | _BY_ALL | ALLOWED[subpackage]:
                wrong.append(f"{path.name}:{line}: {subpackage} imports {name}")
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_models_of_timm_are_imported_in_a_few_places_only(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix().startswith(TIMM_MODELS):
        return
    assert not [f"{path.name}:{line}" for line, name in imports_of(path) if name.startswith("timm.models")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_star_imports(path: Path) -> None:
    assert not [line for line, name in imports_of(path) if name.endswith(".*")]


def import_graph(sources: dict[str, Path]) -> dict[str, set[str]]:
    """Return the files that each file imports, by dotted name, including imports in functions and for type checkers.

    A name imported from a package is a file of it, or else the package's own.
    """

    def file_of(name: str) -> str:
        while name not in sources and name:
            name = name.rpartition(".")[0]
        return name

    found = {file: {file_of(name) for _, name in imports_of(path)} for file, path in sources.items()}
    return {file: others - {file, ""} for file, others in found.items()}


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return files that import each other in a circle, with the first at both ends, or an empty list."""
    done: set[str] = set()

    def visit(file: str, way: list[str]) -> list[str]:
        if file in way:
            return [*way[way.index(file) :], file]
        if file not in done:
            for other in sorted(graph[file]):
                if found := visit(other, [*way, file]):
                    return found
            done.add(file)
        return []

    return next((found for file in sorted(graph) if (found := visit(file, []))), [])


def test_no_files_import_each_other_in_a_circle() -> None:
    names = (".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__") for path in FILES)
    assert find_cycle(import_graph(dict(zip(names, FILES, strict=True)))) == []


@pytest.mark.parametrize(
    "way_back", ["def f():\n    from . import a\n", "if TYPE_CHECKING:\n    from videozoo.a import A\n"]
)
def test_a_circle_is_found(way_back: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"a": "import torch\nfrom videozoo.b import f\n", "b": "from videozoo import c\n", "c": way_back}
    monkeypatch.setattr(Path, "read_text", lambda path, **_: texts[path.stem])
    sources = {f"videozoo.{name}": PACKAGE / f"{name}.py" for name in texts}
    assert find_cycle(import_graph(sources)) == ["videozoo.a", "videozoo.b", "videozoo.c", "videozoo.a"]
    texts["c"] = "import torch\n"
    assert find_cycle(import_graph(sources)) == []


def test_files_needs_no_package() -> None:
    """Files is below everything else: the standard library is all it may import."""
    names = {name.partition(".")[0] for _, name in imports_of(PACKAGE / "files.py")}
    assert names <= sys.stdlib_module_names


def test_the_parser_finds_every_import(tmp_path: Path) -> None:
    """The test itself: an import of every form is found."""
    source = PACKAGE / "layers" / "made_up.py"

    class Fake(type(source)):  # type: ignore[misc]
        def read_text(self, *args: object, **kwargs: object) -> str:
            return (
                "import videozoo.models\nfrom videozoo import compose\nfrom ..data import views\nfrom . import x\n"
                "def f():\n    import importlib\n    importlib.import_module('videozoo.cli')\n"
            )

    names = {name for _, name in imports_of(Fake(source))}
    assert names == {
        "videozoo.models",
        "videozoo.compose",
        "videozoo.data.views",
        "videozoo.layers.x",
        "importlib",
        "videozoo.cli",
    }
