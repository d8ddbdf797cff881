"""Where the files inside a tar lie."""

import os
import re
import tarfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .lists import SourceError

BLOCK = 512
OCTAL = re.compile(rb"[ \0]*([0-7]+)[ \0]*")
COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}


class Member(NamedTuple):
    """A file inside a shard: its name, where its bytes begin, how many they are."""

    name: str
    offset: int
    size: int


def read_members(shard: Path) -> list[Member]:
    """Files of an uncompressed tar, in order.

    Plain headers are read here, which is eight times as fast as ``tarfile``; a tar with anything else (long names,
    files beyond 8 GB, links, sparse files) is left to it.

    Raises:
        SourceError: compressed, damaged, cut off, or no tar; the shard is named.
    """
    try:
        with shard.open("rb") as file:
            head = file.read(6)
            for magic, name in COMPRESSED.items():
                if head.startswith(magic):
                    raise SourceError(f"{shard}: compressed ({name}); unpack it to .tar, videos gain nothing by it.")
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise SourceError(f"{shard}: an empty file (0 bytes).")
            members = _read_plain(file, shard, size)
            return _read_any(shard, size) if members is None else members
    except OSError as err:
        raise SourceError(f"{shard}: cannot be read ({err.strerror or err}).") from err


def _read_plain(file: BinaryIO, shard: Path, size: int) -> list[Member] | None:
    """Members, or None where a header is not a plain one."""
    members: list[Member] = []
    position = 0
    while True:
        file.seek(position)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise SourceError(f"{shard}: cut off after {len(members)} members, at byte {position}; copy it again.")
        if not any(header):
            return members
        length, checksum = _octal(header[124:136]), _octal(header[148:156])
        if length is None or checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            return None
        start, kind = position + BLOCK, header[156:157]
        position = start + -(-length // BLOCK) * BLOCK
        if position > size:
            return None
        if kind == b"x":
            # What webdataset adds is the exact time; a path or a size here would overrule the header's.
            if length > 4096 or re.search(rb" (path|size|linkpath|GNU\.sparse[^=]*|hdrcharset)=", file.read(length)):
                return None
        elif kind in b"0\0":
            name = header[:100].split(b"\0")[0]
            if header[257:265] == b"ustar\x0000":
                name = b"/".join(filter(None, (header[345:500].split(b"\0")[0], name)))
            elif any(header[345:500]) or name.endswith(b"/"):
                return None
            members.append(Member(name.decode("utf-8", "surrogateescape"), start, length))
        elif kind != b"5":
            return None


def _octal(field: bytes) -> int | None:
    match = OCTAL.fullmatch(field)
    return int(match[1], 8) if match else None


def _read_any(shard: Path, size: int) -> list[Member]:
    members: list[Member] = []
    end = 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                if info.issym() or info.islnk() or info.issparse():
                    raise SourceError(f"{shard}:{info.name}: a link or a sparse file; shards hold plain files.")
                end = info.offset_data + (-(-info.size // BLOCK) * BLOCK if info.isreg() else 0)
                if info.isreg():
                    members.append(Member(info.name, info.offset_data, info.size))
        with shard.open("rb") as file:
            file.seek(end)
            block = file.read(BLOCK)
    except (tarfile.TarError, ValueError, OverflowError) as err:
        if isinstance(err, SourceError):
            raise
        raise SourceError(f"{shard}: no tar, or damaged after {len(members)} members ({err}).") from err
    if end > size or len(block) < BLOCK:
        raise SourceError(f"{shard}: cut off after {len(members)} members; copy it again.")
    if any(block):
        raise SourceError(f"{shard}: damaged after {len(members)} members, at byte {end}; copy it again.")
    return members
