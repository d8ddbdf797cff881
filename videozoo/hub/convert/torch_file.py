"""The file formats of ``torch.save``, old and new, and plain pickles.

Nothing in them is run.
"""

import pickle
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from videozoo.hub.convert.inert_pickle import InertUnpickler, Storage

__all__ = ["read_torch_file"]

_MAGIC = 0x1950A86A20F9469CFC6C  # of files before PyTorch 1.6
_MOST_NESTED = 4


def read_torch_file(path: Path) -> Any:
    """Return what a file of ``torch.save`` or ``pickle.dump`` holds: tensors, plain containers, stand-ins for the rest.

    Raises:
        Exception: of any type, where the file is damaged or no such file.
    """
    with path.open("rb") as file:
        return _read(file)


def _read(file: IO[bytes], depth: int = 0) -> Any:
    if depth > _MOST_NESTED:
        raise pickle.UnpicklingError("checkpoints nested in each other")
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(2) == b"PK":
        with zipfile.ZipFile(file) as archive:
            return _read_zip(archive, size, depth)
    file.seek(0)
    try:
        first = _unpickler(file, depth).load()
    except (KeyError, IndexError) as error:  # an unknown code, or one that takes what is not there
        file.seek(0)
        raise pickle.UnpicklingError(f"it is no pickle; it begins with {file.read(16)!r}") from error
    return _read_old(file, size, depth) if first == _MAGIC else first


def _unpickler(file: IO[bytes], depth: int, load_storage: Any = None) -> InertUnpickler:
    return InertUnpickler(file, load_storage, lambda nested: _read(nested, depth + 1))


def _buffer(num_bytes: int, left: int) -> torch.Tensor:
    if not 0 <= num_bytes <= left:
        raise pickle.UnpicklingError("its tensors are larger than the file")
    return torch.empty(num_bytes, dtype=torch.uint8)


def _read_zip(archive: zipfile.ZipFile, size: int, depth: int) -> Any:
    names = archive.namelist()
    root = next((name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")), None)
    if root is None:
        raise pickle.UnpicklingError("a zip file without data.pkl")
    if f"{root}constants.pkl" in names:
        raise pickle.UnpicklingError("a TorchScript program; save the state dict of its model")
    if sum(row.file_size for row in archive.infolist()) > size:
        raise pickle.UnpicklingError("a compressed zip file, which torch.save never writes")
    order = f"{root}byteorder"
    if order in names and archive.read(order).decode() != sys.byteorder:
        raise pickle.UnpicklingError("written on a machine with another order of bytes")
    found: dict[str, torch.UntypedStorage] = {}

    def load_storage(pid: Any) -> Storage:
        _, dtype, key, _, _ = pid
        if key not in found:
            row = archive.getinfo(f"{root}data/{key}")
            buffer = _buffer(row.file_size, size)
            with archive.open(row) as data:
                data.readinto(buffer.numpy())  # type: ignore[attr-defined]
            found[key] = buffer.untyped_storage()
        return Storage(found[key], dtype)

    with archive.open(f"{root}data.pkl") as file:
        return _unpickler(file, depth, load_storage).load()


def _read_old(file: IO[bytes], size: int, depth: int) -> Any:
    """Read the format before PyTorch 1.6, after its magic number: the object comes first, then its storages."""
    _unpickler(file, depth).load()  # the version of the format
    system = _unpickler(file, depth).load()
    if (sys.byteorder == "little") is not bool(system["little_endian"]):
        raise pickle.UnpicklingError("written on a machine with another order of bytes")
    found: dict[Any, tuple[torch.Tensor, int]] = {}
    left = size

    def load_storage(pid: Any) -> Any:
        nonlocal left
        if pid[0] == "module":
            return pid[1]
        _, dtype, key, _, count, view = pid
        if key not in found:
            found[key] = _buffer(count * dtype.itemsize, left), dtype.itemsize
            left -= found[key][0].nbytes
        start = 0 if view is None else view[1]  # a view of a larger storage, in files of 2017
        return Storage(found[key][0].untyped_storage(), dtype, start)

    content = _unpickler(file, depth, load_storage).load()
    for key in _unpickler(file, depth).load():
        buffer, itemsize = found[key]
        count = int.from_bytes(file.read(8), sys.byteorder)
        if count * itemsize != buffer.nbytes or file.readinto(buffer.numpy()) != buffer.nbytes:  # type: ignore[attr-defined]
            raise pickle.UnpicklingError("the file ends too early")
    return content
