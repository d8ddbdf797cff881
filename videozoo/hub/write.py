"""Writing model folders: complete, or not there."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from videozoo.hub.files import WEIGHTS, WeightsError

__all__ = ["replace_folder", "save_weights"]


def save_weights(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write ``model.safetensors`` into a folder."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Put a folder made by ``fill`` in the place of ``folder``.

    It is written beside it and renamed, so that readers see the old folder, none, or the whole new one.

    Args:
        folder: where; its parents are made.
        fill: writes the files into the folder that it is given.
    Raises:
        WeightsError: the disk refused; nothing half-written is left.
    """
    side: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        side = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        (side / "new").mkdir()
        fill(side / "new")
        if folder.exists():
            os.rename(folder, side / "old")
        os.rename(side / "new", folder)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot be written ({error}); nothing is left half-written", source=str(folder)) from error
    finally:
        if side is not None:
            if (side / "old").exists() and not folder.exists():  # stopped between the two renames
                os.rename(side / "old", folder)
            shutil.rmtree(side, ignore_errors=True)
