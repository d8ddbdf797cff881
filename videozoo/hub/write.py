"""Writing model folders: complete, or not there."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from videozoo import files
from videozoo.hub.files import WEIGHTS, WeightsError
from videozoo.text import cause

__all__ = ["replace_folder", "save_weights"]


def save_weights(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write ``model.safetensors`` into a folder."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Put a folder made by ``fill`` in the place of ``folder``, as `videozoo.files.replace_folder` does.

    Args:
        folder: where. Its parents are made.
        fill: writes the files into the folder that it is given.
    Raises:
        WeightsError: the disk refused. Nothing half-written is left.
    """
    try:
        files.replace_folder(folder, fill)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"cannot be written ({cause(error)}); nothing is left half-written", source=str(folder)
        ) from error
