"""Files that end before their container does: a copy or a recording that was cut short."""

from collections.abc import Callable

from .byte_window import ByteWindow
from .iso_boxes import FIRST_BOXES, iterate_boxes

RIFF, OGG_PAGE = b"RIFF", b"OggS"
MATROSKA, SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
# Boxes whose end counts; behind them a file may have anything.
COUNTED_BOXES = frozenset({b"moov", b"moof", b"mdat"})
OGG_PAGE_BYTES = 2**16  # and a header of 282 bytes at most
FLV_HEADER_BYTES, FLV_TAG_BYTES = 13, 15  # the latter with the size that follows a tag


def is_cut_short(data: ByteWindow) -> bool:
    """Return True where a file's container states more bytes than there are.

    Of mp4, avi, mkv, flv and ogg. The others state nothing, nor do recordings that were never finished.
    """
    head = data.read_at(0, 64)
    if head[4:8] in FIRST_BOXES:
        return any(end > data.size for kind, _, end in iterate_boxes(data, 0, data.size) if kind in COUNTED_BOXES)
    return any(end_of(data) > data.size for magic, end_of in ENDS.items() if head.startswith(magic))


def _end_of_riff(data: ByteWindow) -> int:
    """Read the boxes. Files of more than a gigabyte have several lists, one after the other."""
    end = 0
    while True:
        head = data.read_at(end, 8)
        size = int.from_bytes(head[4:], "little")
        if head[:4] != RIFF or size in (0, 0xFFFFFFFF):
            return end
        end += 8 + size


def _end_of_segment(data: ByteWindow) -> int:
    head = data.read_at(0, 64)
    at = head.find(SEGMENT) + len(SEGMENT)
    if at < len(SEGMENT) or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    limit = 1 << (7 * length)
    size = int.from_bytes(head[at : at + length], "big") & (limit - 1)
    return 0 if size == limit - 1 else at + length + size  # all ones: not known


def _end_of_flv(data: ByteWindow) -> int:
    end = FLV_HEADER_BYTES
    while end + FLV_TAG_BYTES <= data.size:
        head = data.read_at(end, 4)
        if head[0] & 0x1F not in (8, 9, 18):  # sound, video, script: something else follows
            return end
        end += FLV_TAG_BYTES + int.from_bytes(head[1:], "big")
    if end - 4 == data.size:  # some writers leave out the size that follows the last tag
        return data.size
    return end if end >= data.size else data.size + 1  # less than a tag is the begin of one


def _end_of_ogg(data: ByteWindow) -> int:
    begin = max(data.size - OGG_PAGE_BYTES, 0)
    tail = data.read_at(begin, OGG_PAGE_BYTES)
    at = tail.rfind(OGG_PAGE)
    if at < 0 or at + 27 > len(tail):
        return 0 if at < 0 else data.size + 1
    count = tail[at + 26]
    return begin + at + 27 + count + sum(tail[at + 27 : at + 27 + count])


# By the first bytes of a file: where its container says that it ends.
ENDS: dict[bytes, Callable[[ByteWindow], int]] = {
    RIFF: _end_of_riff,
    MATROSKA: _end_of_segment,
    b"FLV": _end_of_flv,
    OGG_PAGE: _end_of_ogg,
}
