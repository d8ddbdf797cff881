"""Indexes of files that were read before: in the memory of this process, and in a folder where asked."""

import hashlib
import io
import json
import os
import time
from array import array
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from videozoo.arguments import INDEX_CACHE_VARIABLE
from videozoo.files import write_file

from .byte_window import Member
from .packet_index import PacketIndex

# In the memory of a process; a file of 10 minutes takes 140 KB.
MAX_BYTES = 64 * 2**20
# What an entry takes beside its numbers, about.
ENTRY_BYTES = 1000
# A file that was changed so few seconds ago may change again and keep its time of change.
FRESH_SEC = 2
# Of what is written; another one where the index of the same file may be another.
VERSION = 1
DIGEST_BYTES = 32


class IndexCache:
    """The indexes used last, by the keys of their files.

    Args:
        max_bytes: what they may take together. The one used longest ago goes first.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, PacketIndex] = OrderedDict()
        self._num_bytes = 0

    def get(self, key: str) -> PacketIndex | None:
        """Return a file's index, or None if it is not kept."""
        index = self._take(key)
        if index is not None:
            self.put(key, index)
        return index

    def put(self, key: str, index: PacketIndex) -> None:
        """Keep a file's index."""
        self._take(key)
        self._kept[key] = index
        self._num_bytes += index.num_bytes + ENTRY_BYTES
        while self._num_bytes > self._max_bytes and len(self._kept) > 1:
            self._take(next(iter(self._kept)))

    def _take(self, key: str) -> PacketIndex | None:
        index = self._kept.pop(key, None)
        if index is not None:
            self._num_bytes -= index.num_bytes + ENTRY_BYTES
        return index


_memory = IndexCache(MAX_BYTES)


def default_folder() -> Path | None:
    """Return the folder of ``VIDEOZOO_INDEX_CACHE``, or None if it is not set."""
    name = os.environ.get(INDEX_CACHE_VARIABLE, "")
    return Path(name) if name else None


def file_key(path: Path, member: Member | None) -> str | None:
    """Return what names the present content of a file, or of a member, or None if it may change, or is in memory.

    Args:
        path: an existing file.
        member: what part of it.
    """
    if isinstance(member, bytes):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    if max(status.st_mtime, status.st_ctime) > time.time() - FRESH_SEC:
        return None
    return json.dumps([os.path.realpath(path), member, status.st_size, status.st_mtime_ns])


def kept_index(key: str, folder: Path | None) -> PacketIndex | None:
    """Return the index kept under a key, or None if there is none.

    Args:
        key: of ``file_key``.
        folder: where indexes are on disk, too.
    """
    index = _memory.get(key)
    if index is None and folder is not None:
        index = _read(_entry(folder, key), key)
        if index is not None:
            _memory.put(key, index)
    return index


def keep_index(key: str, index: PacketIndex, folder: Path | None) -> None:
    """Keep an index in memory, and in a folder where there is one that can be written.

    Args:
        key: of ``file_key``, from before and after the file was read.
        index: of the whole file.
        folder: as for ``kept_index``.
    """
    _memory.put(key, index)
    if folder is not None:
        path = _entry(folder, key)
        with suppress(OSError):  # a full disk or a read-only folder costs time only
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, _to_bytes(index, key))


def _entry(folder: Path, key: str) -> Path:
    # Another FFmpeg may number packets differently.
    name = hashlib.blake2b(
        f"{VERSION} {av.__version__} {key}".encode("utf-8", "surrogateescape"), digest_size=16
    ).hexdigest()
    return folder / name[:2] / f"{name[2:]}.npy"


def _digest(key: str, rows: np.ndarray) -> bytes:
    whole = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES)
    whole.update(rows.tobytes())
    return whole.digest()


def _to_bytes(index: PacketIndex, key: str) -> bytes:
    """Return an int64 array: digest of key and content, number of frames and keys, pts, keys, seeks, flags."""
    flags = np.packbits(np.frombuffer(index.unreferenced, np.uint8))
    words = np.pad(flags, (0, -len(flags) % 8)).view("<i8")
    parts = [[len(index.pts), len(index.keys)], index.pts, index.keys, index.seeks, words]
    rows = np.concatenate([np.asarray(part, "<i8") for part in parts])
    out = io.BytesIO()
    np.save(out, np.concatenate([np.frombuffer(_digest(key, rows), "<i8"), rows]), allow_pickle=False)
    return out.getvalue()


def _read(path: Path, key: str) -> PacketIndex | None:
    """Return an entry of the folder, or None if there is none, or it is damaged or another file's."""
    try:
        with open(path, "rb") as file:
            rows: Any = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError):
        return None
    start = DIGEST_BYTES // 8
    if rows.dtype != np.dtype("<i8") or rows.ndim != 1 or len(rows) < start + 2:
        return None
    digest, rows = rows[:start].tobytes(), rows[start:]
    if digest != _digest(key, rows):
        return None
    num_frames, num_keys = rows[:2].tolist()
    columns = np.split(rows[2:], np.cumsum([num_frames, num_keys, 3 * num_keys]))
    flags = np.unpackbits(columns[3].view(np.uint8), count=num_frames).tobytes()
    pts, keys, seeks = (array("q", part.astype("=i8").tobytes()) for part in columns[:3])
    return PacketIndex(pts, keys, seeks, flags, 0, num_frames)
