"""Reading weights and configs from local files."""

import functools
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from videozoo.text import cause, printable

__all__ = [
    "CONFIG",
    "PICKLES",
    "WEIGHTS",
    "WeightsError",
    "check_safetensors",
    "how_to_convert",
    "read_config",
    "read_folder",
    "read_safetensors",
]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLES = (".bin", ".pth", ".pt", ".pyth", ".ckpt", ".tar", ".pkl", ".pickle")


class WeightsError(Exception):
    """Error for weights or a config that cannot be loaded or do not fit.

    Args:
        reason: what is wrong and what to do.
        source: the repository, file, folder or name that was given.
        revision: revision of a repository, where it is known.
        file: the file in it.
    Example:
        >>> import videozoo
        >>> try:
        ...     videozoo.create_model("arc_tsm_r50", pretrained=True)  # no public weights of this model exist
        ... except videozoo.WeightsError as error:
        ...     print(error.source)
        arc_tsm_r50
    """

    def __init__(self, reason: str, *, source: str, revision: str | None = None, file: str | None = None) -> None:
        reason = printable(reason)  # it may quote a config, a key or a library
        super().__init__(reason, source, revision, file)
        self.reason, self.source, self.revision, self.file = reason, source, revision, file

    @property
    def repository(self) -> str:
        """The repository of the Hub, or any other source of the weights, that was given."""
        return self.source

    def at(self, *, source: str, revision: str | None = None, file: str | None = None) -> "WeightsError":
        """Return the same error for another place."""
        return WeightsError(self.reason, source=source, revision=revision, file=file or self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders by pickle, which knows no keyword arguments.
        make = functools.partial(WeightsError, source=self.source, revision=self.revision, file=self.file)
        return make, (self.reason,)

    def __str__(self) -> str:
        where = f"{self.source}@{self.revision}" if self.revision else self.source
        return ": ".join(part for part in (where, self.file, self.reason) if part)


def refuse_no_file(path: Path) -> None:
    """Raise where a path is no file of weights, with what to give in place of a folder.

    Raises:
        WeightsError: nothing is there, or a folder.
    """
    if path.is_dir():
        files = [file for file in (path / WEIGHTS, path / "best" / WEIGHTS) if file.is_file()]
        hint = f"; the file in it is {files[0]}, and the folder itself is a model's name" if files else ""
        raise WeightsError(f"a folder, and a file is needed{hint}", source=str(path))
    if not path.is_file():
        raise WeightsError("no such file", source=str(path))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a ``.safetensors`` file, on the CPU.

    Raises:
        WeightsError: no such file, another format, or a damaged file.
    """
    refuse_no_file(path)
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"a {path.suffix or 'nameless'} file is not opened, since a pickle can run code; need .safetensors. "
            f"Convert a published checkpoint: {how_to_convert(path)}",
            source=str(path),
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"not a readable safetensors file ({cause(error)}); get it again", source=str(path)
        ) from error


def check_safetensors(path: Path) -> None:
    """Check the header of a ``.safetensors`` file, from which the size of the file follows.

    Raises:
        WeightsError: the file is damaged.
    """
    try:
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"not a readable safetensors file ({cause(error)})", source=str(path)) from error


def read_config(path: Path) -> dict[str, Any]:
    """Return a model's ``config.json``.

    Raises:
        WeightsError: it is not a JSON object with an architecture.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise WeightsError(f"not a JSON file ({cause(error)})", source=str(path)) from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise WeightsError("has no 'architecture'", source=str(path))
    return config


def read_folder(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the config and weights file of a model folder in timm's layout (``config.json``, ``model.safetensors``).

    Raises:
        WeightsError: a file is missing or the config is not a JSON object with an architecture.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise WeightsError("no such folder", source=str(folder))
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    for path in (config_path, weights_path):
        if not path.is_file():
            names = sorted(p.name for p in folder.iterdir())
            held = ", ".join(names[:8]) or "nothing"
            reason = f"{path.name} is {'no file' if path.exists() else 'missing'}; the folder holds {held}"
            pickle = next((name for name in names if name.endswith(PICKLES)), None)
            if path == config_path and "last" in names:
                reason += f". It is a run without a best epoch so far; its last state is {folder / 'last'}"
            if path == weights_path and pickle:
                reason += f". A pickle can run code and is not opened; convert it: {how_to_convert(folder / pickle)}"
            raise WeightsError(reason, source=str(folder))
    return read_config(config_path), weights_path


def how_to_convert(path: Path | str) -> str:
    """Return the command that turns a checkpoint into a model folder, and the name of what it makes."""
    return f"`videozoo convert {path} --output DIR`, then load local-dir:DIR"
