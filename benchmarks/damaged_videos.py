"""Functions that damage copies of videos, reproducible from a seed and a number."""

import random
from collections.abc import Callable
from pathlib import Path

VIDEO_ENDINGS = {".mp4", ".mkv", ".webm", ".avi", ".gif", ".mov", ".3gp", ".ogv", ".ts"}

Mutation = Callable[[bytearray, bytes, random.Random], bytearray]


def flip_bits(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Flip up to 64 bits anywhere."""
    for _ in range(rng.choice([1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def flip_header_bits(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Flip up to 16 bits of the first or last 4 KB, where containers keep their tables."""
    base = rng.choice([0, max(len(data) - 4096, 0)])
    for _ in range(rng.choice([1, 2, 4, 16])):
        data[base + rng.randrange(min(len(data), 4096))] ^= 1 << rng.randrange(8)
    return data


def truncate(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Cut off the end."""
    return data[: rng.randrange(1, len(data))]


def zero_range(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Overwrite up to 64 KB with zeros."""
    start = rng.randrange(len(data))
    size = min(rng.choice([16, 512, 4096, 65536]), len(data) - start)
    data[start : start + size] = bytes(size)
    return data


def splice_header(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Replace the first bytes by those of another video."""
    size = min(rng.choice([8, 64, 1024, 16384]), len(other), len(data))
    return bytearray(other[:size]) + data[size:]


def shuffle_blocks(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Swap two ranges of up to 4 KB, or repeat or delete one."""
    size = rng.randrange(1, min(len(data) // 2, 4096) + 1)
    a, b = sorted(rng.randrange(len(data) - size + 1) for _ in range(2))
    piece = data[a : a + size]
    match rng.randrange(3):
        case 0:
            data[a : a + size], data[b : b + size] = data[b : b + size], piece
        case 1:
            data[b:b] = piece
        case _:
            del data[a : a + size]
    return data


MUTATIONS: dict[str, Mutation] = {
    "bit flips": flip_bits,
    "bit flips in the header": flip_header_bits,
    "truncation": truncate,
    "zeroed range": zero_range,
    "spliced header": splice_header,
    "moved, repeated or lost blocks": shuffle_blocks,
}


def list_videos(folder: Path) -> list[Path]:
    """Return all non-empty videos below a folder, sorted by name."""
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS]
    return sorted(path for path in paths if path.stat().st_size > 0)


def make_case(paths: list[Path], seed: int, number: int) -> tuple[str, Path, bytearray]:
    """Return kind of damage, source and bytes of one damaged video."""
    rng = random.Random(f"{seed} {number}")
    kind = list(MUTATIONS)[number % len(MUTATIONS)]
    path = paths[rng.randrange(len(paths))]
    return kind, path, MUTATIONS[kind](bytearray(path.read_bytes()), rng.choice(paths).read_bytes(), rng)
