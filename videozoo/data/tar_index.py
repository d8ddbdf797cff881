"""Index of the files inside a tar."""

import tarfile
from pathlib import Path
from typing import NamedTuple

from .list_errors import SourceError

BLOCK = tarfile.BLOCKSIZE
COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}


class Member(NamedTuple):
    """A file inside a shard: its name, where its bytes begin, how many they are."""

    name: str
    offset: int
    size: int


def read_members(shard: Path) -> list[Member]:
    """Return the files of an uncompressed tar, in order.

    Raises:
        SourceError: compressed, damaged, cut off, or no tar. The shard is named.
    """
    members: list[Member] = []
    end = 0
    try:
        with shard.open("rb") as file:
            head = file.read(6)
            if not head:
                raise SourceError(f"{shard}: an empty file (0 bytes).")
            for magic, name in COMPRESSED.items():
                if head.startswith(magic):
                    raise SourceError(f"{shard}: compressed ({name}); unpack it to .tar, videos gain nothing by it.")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    if info.issym() or info.islnk() or info.issparse():
                        raise SourceError(f"{shard}:{info.name}: a link or a sparse file; shards hold plain files.")
                    end = info.offset_data + (-(-info.size // BLOCK) * BLOCK if info.isreg() else 0)
                    if info.isreg():
                        members.append(Member(info.name, info.offset_data, info.size))
            file.seek(end)
            block = file.read(BLOCK)
    except OSError as err:
        raise SourceError(f"{shard}: cannot be read ({err.strerror or err}).") from err
    except (tarfile.TarError, ValueError, OverflowError) as err:
        if isinstance(err, SourceError):
            raise
        raise SourceError(f"{shard}: no tar, or damaged after {len(members)} members ({err}).") from err
    if len(block) < BLOCK:
        raise SourceError(f"{shard}: cut off after {len(members)} members; copy it again.")
    if any(block):  # tarfile takes a header that is damaged for the end
        raise SourceError(f"{shard}: damaged after {len(members)} members, at byte {end}; copy it again.")
    return members
