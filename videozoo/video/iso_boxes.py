"""The boxes that an ISO media file (mp4, mov, 3gp) is made of."""

from collections.abc import Iterator

from .byte_window import ByteWindow

# What such a file has in its bytes 4 to 8.
FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"})


def iterate_boxes(data: ByteWindow, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, begin of the content and end of the boxes between two places.

    The last may end behind ``stop``.

    Args:
        data: the file.
        start, stop: in bytes.
    """
    while start + 8 <= stop:
        head = data.read_at(start, 16)
        size, kind, length = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, length = int.from_bytes(head[8:], "big"), 16
        size = size or stop - start  # 0: to the end
        if size < length:
            return
        yield kind, start + length, start + size
        start += size


def find_boxes(data: ByteWindow, wanted: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the content of the boxes of a kind between two places."""
    for kind, begin, end in iterate_boxes(data, start, stop):
        if kind == wanted:
            yield begin, min(end, stop)
