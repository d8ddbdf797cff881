"""What goes wrong with exported files."""

import importlib
from typing import Any

__all__ = ["ExportError", "require"]


class ExportError(Exception):
    """A network cannot be exported, or an exported file cannot be used; the message says why and what to do."""


def require(name: str, purpose: str) -> Any:
    """Import a package of the extra ``export``.

    Raises:
        ExportError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ExportError(f'{purpose} needs {package}; install it with: pip install "videozoo[export]"') from error
