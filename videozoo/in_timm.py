"""Our architectures in timm's registry, from the moment that both packages are loaded, in whichever order."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["register_when_loaded"]


def register_when_loaded() -> None:
    """Register the architectures with timm: at once where timm is loaded, else as soon as it will be.

    timm's registry is a table in memory that knows no plug-ins, and timm itself takes seconds to load. So nothing is
    loaded for the registry alone: a finder waits for the import of timm.
    """
    if "timm" in sys.modules:
        importlib.import_module("videozoo.models")
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds timm and the modules of this package as the other finders do, and loads them by :class:`_Loader`."""

    def __init__(self) -> None:
        self.depth = 0  # modules that are being loaded, each by the one before

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
        """Register where timm is there by now, after which nobody needs to wait."""
        if self.depth == 0 and "timm" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            importlib.import_module("videozoo.models")


class _Loader(Loader):
    """Loads a module by its own loader, and tells the finder.

    A part of ``videozoo.models`` that is imported by itself may be what loads timm: then the registry waits for it.
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
