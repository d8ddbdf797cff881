"""Packages that only some features need: imported where they are used, with a message that says how to install them."""

import importlib
import importlib.util
from typing import Any

__all__ = ["EXTRAS", "MissingPackageError", "check_installed", "require"]

# Packages of each extra of pyproject.toml that videozoo imports.
EXTRAS = {
    "demo": ("gradio",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "parquet": ("pyarrow",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
}


class MissingPackageError(ImportError):
    """A feature needs a package that is not installed.

    The message says which, and how to install it.
    """


def check_installed(purpose: str, *packages: str) -> None:
    """Raise where an optional package is missing.

    Nothing is imported, so this is quick enough to ask first.

    Args:
        purpose: what needs them, the beginning of the message.
        packages: of one extra.
    Raises:
        MissingPackageError: names the packages and the command that installs them.
    """
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        extra = next(extra for extra, members in EXTRAS.items() if missing[0] in members)
        raise MissingPackageError(
            f"{purpose} needs {' and '.join(missing)}: pip install {' '.join(EXTRAS[extra])} "
            f'(or, in a checkout of videozoo, pip install ".[{extra}]")'
        )


def require(name: str, purpose: str) -> Any:
    """Import a module of an optional package and return it.

    Raises:
        MissingPackageError: the package is not installed.
    """
    check_installed(purpose, name.partition(".")[0])
    return importlib.import_module(name)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # loaded by hand, without a spec
        return True
