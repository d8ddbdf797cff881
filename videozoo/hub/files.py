"""Reading weights and configs from local files."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

__all__ = ["WeightsError", "read_folder", "read_safetensors"]


class WeightsError(Exception):
    """Weights or their config cannot be had, or do not fit.

    Args:
        reason: what is wrong and what to do.
        source: the file, folder or name that was asked for.
    """

    def __init__(self, reason: str, *, source: str) -> None:
        super().__init__(reason, source)
        self.reason, self.source = reason, source

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders by pickle, which knows no keyword arguments.
        return (_weights_error, (self.reason, self.source))

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


def _weights_error(reason: str, source: str) -> WeightsError:
    return WeightsError(reason, source=source)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file, on the CPU.

    Raises:
        WeightsError: no such file, another format, or a damaged file.
    """
    if not path.is_file():
        raise WeightsError("no such file", source=str(path))
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"a {path.suffix or 'nameless'} file is not opened, since a pickle can run code; need .safetensors",
            source=str(path),
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"not a readable safetensors file ({error}); get it again", source=str(path)) from error


def read_folder(folder: Path) -> tuple[dict[str, Any], Path]:
    """Config and weights file of a model folder in timm's layout (``config.json``, ``model.safetensors``).

    Raises:
        WeightsError: a file is missing or the config is not a JSON object with an architecture.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise WeightsError("no such folder", source=str(folder))
    config_path, weights_path = folder / "config.json", folder / "model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            held = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            raise WeightsError(f"{path.name} is missing; the folder holds {held}", source=str(folder))
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise WeightsError(f"not a JSON file ({error})", source=str(config_path)) from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise WeightsError("has no 'architecture'", source=str(config_path))
    return config, weights_path
