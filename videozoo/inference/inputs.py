"""Inputs of a predictor: paths, open files, bytes, frames in memory."""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from videozoo.data import VideoError, VideoRecord
from videozoo.text import cause

# A path, a file that is open, the bytes of a file, or frames in memory.
Video = str | os.PathLike[str] | VideoRecord | BinaryIO | bytes | bytearray | memoryview | np.ndarray | Tensor
BYTES, FRAMES = Path("<bytes>"), Path("<frames>")


def is_video(source: Any) -> bool:
    """Return whether something is one video, not several: a list of pictures is one, too."""
    if isinstance(source, np.ndarray):
        return not _holds_paths(source)
    if isinstance(source, list | tuple):
        return bool(source) and all(map(_is_picture, source))
    return isinstance(
        source, str | os.PathLike | VideoRecord | bytes | bytearray | memoryview | Tensor | Image.Image
    ) or (hasattr(source, "read"))


def to_record(source: Any) -> VideoRecord:
    """Return the record of one video.

    A file that is open is read from its beginning: from the disk, where it is a file there, else into memory.

    Raises:
        TypeError: it is nothing of the kind.
        VideoError: a file that cannot be read.
    """
    if isinstance(source, VideoRecord):
        return source
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise VideoError(Path(), "the path is empty")  # which would be the working directory
        return VideoRecord(Path(source), -1, "")
    if isinstance(source, bytes | bytearray | memoryview):
        return VideoRecord(BYTES, -1, "", content=bytes(source))
    if hasattr(source, "read"):
        return _of_file(source)
    if isinstance(source, Tensor):
        if source.is_meta or source.layout != torch.strided:
            raise VideoError(FRAMES, f"frames are a tensor without plain values ({source.device}, {source.layout})")
        source = source.detach().cpu()  # decoding processes cannot take what is on a GPU
    if isinstance(source, np.ndarray | Tensor | list | tuple | Image.Image):
        return VideoRecord(FRAMES, -1, "", content=source)
    raise TypeError(
        f"Predictor: got {_named(source)}; give a path, an open file, bytes, uint8 frames (T, H, W, 3) or "
        "(T, 3, H, W), a list of pictures, or a list of these."
    )


def to_records(source: Iterable[Any]) -> list[VideoRecord | VideoError]:
    """Return the record of each video.

    In place of a file that cannot be read, the error.

    Raises:
        TypeError: one is nothing of the kind.
    """

    def record(one: Any) -> VideoRecord | VideoError:
        try:
            return to_record(one)
        except VideoError as error:
            return error

    try:
        return [record(one) for one in source]
    except TypeError as error:
        if not isinstance(source, Iterable):
            to_record(source)  # which says what is needed
        raise error


def _of_file(file: Any) -> VideoRecord:
    name = getattr(file, "name", None)
    path = Path(name) if isinstance(name, str) else BYTES
    try:
        if _is_on_disk(file, path):
            return VideoRecord(path, -1, "")
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):  # a pipe has no beginning
            file.seek(0)
        content = file.read()
    except Exception as error:
        raise VideoError(path, f"the open file cannot be read ({type(error).__name__}, {cause(error)})") from error
    if not isinstance(content, bytes):
        raise VideoError(path, f"the open file gives {type(content).__name__}, not bytes; open it with mode 'rb'")
    return VideoRecord(path, -1, "", content=content)


def _is_on_disk(file: Any, path: Path) -> bool:
    """Return whether a file is a plain one, with what is written into it so far, and still has its name."""
    if not isinstance(getattr(file, "raw", file), io.FileIO):  # compressed files have a number of the disk, too
        return False
    if file.writable():
        file.flush()
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path)) and path.is_file()
    except OSError:
        return False


def _is_picture(item: Any) -> bool:
    return isinstance(item, Image.Image) or (
        isinstance(item, np.ndarray | Tensor) and item.ndim <= 3 and not _holds_paths(item)
    )


def _holds_paths(array: np.ndarray | Tensor) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "UO"


def _named(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 40 else f"a {type(value).__name__}"
