"""Registration of the architectures with timm, once both packages are imported."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["register_when_loaded"]


def register_when_loaded() -> None:
    """Register the architectures with timm now if timm is loaded, else as soon as it is imported.

    timm's registry is a table in memory without plug-ins, and importing timm takes seconds. So videozoo does not import
    it for the registry alone: a finder waits for its import.
    """
    if "timm" in sys.modules:
        importlib.import_module("videozoo.models")
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finder of timm and of this package's modules that asks the other finders and adds a :class:`_Loader`."""

    def __init__(self) -> None:
        self.depth = 0  # nested imports in progress

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm" and not fullname.startswith("videozoo."):
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def finish(self) -> None:
        """Register the architectures and remove this finder, if timm is loaded by now."""
        if self.depth == 0 and "timm" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            importlib.import_module("videozoo.models")


class _Loader(Loader):
    """Loader that runs a module's own loader and then calls the finder.

    A part of ``videozoo.models`` that is imported by itself may be what loads timm. The registration then waits until
    that import has finished.
    """

    def __init__(self, own: Any, finder: _Finder) -> None:
        self.own, self.finder = own, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.own.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.finder.depth += 1
        try:
            self.own.exec_module(module)
        finally:
            self.finder.depth -= 1
        self.finder.finish()
