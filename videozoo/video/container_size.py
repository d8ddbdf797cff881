"""Files that end before their container does: a copy or a recording that was cut short."""

import io
import struct

from .iso_boxes import FIRST_BOXES, SeekableBytes, iterate_boxes

MATROSKA, SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
# Boxes whose end counts; behind them a file may have anything.
COUNTED_BOXES = frozenset({b"moov", b"moof", b"mdat"})
OGG_PAGE_BYTES = 2**16  # and a header of 282 bytes at most
FLV_HEADER_BYTES, FLV_TAG_BYTES = 13, 15  # the latter with the size that follows a tag


def is_cut_short(file: SeekableBytes) -> bool:
    """Return True where a file's container states more bytes than there are.

    Of mp4, avi, mkv, flv and ogg; the others state nothing, nor do recordings that were never finished.

    Args:
        file: an open file; its position is changed.
    """
    total = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(64) or b""
    if head[4:8] in FIRST_BOXES:
        return any(end > total for kind, _, end in iterate_boxes(file, 0, total) if kind in COUNTED_BOXES)
    if head[:4] == b"RIFF":
        return _end_of_riff(file) > total
    if head[:4] == MATROSKA:
        return _end_of_segment(head) > total
    if head[:3] == b"FLV":
        return _end_of_flv(file, total) > total
    if head[:4] == b"OggS":
        return _end_of_ogg(file, total) > total
    return False


def _end_of_riff(file: SeekableBytes) -> int:
    """Files of more than a gigabyte are several lists, one after the other."""
    end = 0
    while True:
        file.seek(end)
        head = file.read(8) or b""
        size = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or size in (0, 0xFFFFFFFF):
            return end
        end += 8 + size


def _end_of_segment(head: bytes) -> int:
    at = head.find(SEGMENT) + len(SEGMENT)
    if at < len(SEGMENT) or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    limit = 1 << (7 * length)
    size = int.from_bytes(head[at : at + length], "big") & (limit - 1)
    return 0 if size == limit - 1 else at + length + size  # all ones: not known


def _end_of_flv(file: SeekableBytes, total: int) -> int:
    end = FLV_HEADER_BYTES
    while end + FLV_TAG_BYTES <= total:
        file.seek(end)
        head = file.read(4) or b""
        if head[0] & 0x1F not in (8, 9, 18):  # sound, video, script: something else follows
            return end
        end += FLV_TAG_BYTES + int.from_bytes(head[1:], "big")
    if end - 4 == total:  # some writers leave out the size that follows the last tag
        return total
    return end if end >= total else total + 1  # less than a tag is the begin of one


def _end_of_ogg(file: SeekableBytes, total: int) -> int:
    begin = max(total - OGG_PAGE_BYTES, 0)
    file.seek(begin)
    tail = file.read(OGG_PAGE_BYTES) or b""
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return 0 if at < 0 else total + 1
    (count,) = struct.unpack("B", tail[at + 26 : at + 27])
    return begin + at + 27 + count + sum(tail[at + 27 : at + 27 + count])
