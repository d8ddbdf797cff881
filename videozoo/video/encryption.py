"""Signs that a file's video is encrypted: FFmpeg decodes it to gray frames, or says that the file is damaged."""

import re

from .byte_window import ByteWindow
from .iso_boxes import find_boxes, iterate_boxes

# Sample entries of an ISO media file: Common Encryption (CENC, CBCS, PlayReady) and FairPlay.
ENCRYPTED_ENTRIES = frozenset({b"encv", b"drmi"})
# Objects of an ASF header (Content Encryption, Extended, Advanced), as they are in a file.
ASF_ENCRYPTION = tuple(
    bytes.fromhex(text)
    for text in (
        "fbb3112223bdd211b4b700a0c955fc6e",
        "14e68a29 2226 174c b935 dae07ee9289c",
        "33850543 8169 e649 9b74 ad12cb86d58c",
    )
)
SCRAMBLED_FORMATS = frozenset({"asf", "mpegts", "mpeg"})
# So much is read of the start of these, whose packets say that they are scrambled.
HEAD_BYTES = 2**18


def encrypted_tracks(data: ByteWindow) -> list[bool]:
    """Return for each track of an ISO media file (mp4, mov, 3gp), in FFmpeg's order, if it is an encrypted video.

    Damage ends the search. What was found until then is returned.
    """
    tracks = []
    for moov in find_boxes(data, b"moov", 0, data.size):
        for trak in find_boxes(data, b"trak", *moov):
            spans = [trak]
            for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
                spans = [inner for span in spans for inner in find_boxes(data, kind, *span)]
            # Eight bytes (version, number of entries) before the entries of an stsd.
            kinds = {kind for start, stop in spans for kind, _, _ in iterate_boxes(data, start + 8, stop)}
            tracks.append(not kinds.isdisjoint(ENCRYPTED_ENTRIES))
    return tracks


def is_scrambled(head: bytes, format_name: str, program_id: int) -> bool:
    """Return True where the start of a file says that its video is encrypted.

    Args:
        head: the first bytes, up to ``HEAD_BYTES``.
        format_name: FFmpeg's name of its container.
        program_id: the video's PID in an MPEG transport stream.
    """
    if format_name == "asf":
        return any(guid in head for guid in ASF_ENCRYPTION)
    if format_name == "mpegts":
        size, first = next(((s, k) for s, k in ((188, 0), (192, 4)) if head[k : k + s + 1 : s] == b"GG"), (188, 0))
        packets = (head[at : at + 4] for at in range(first, len(head) - 3, size))
        return any(p[0] == 0x47 and int.from_bytes(p[1:3], "big") & 0x1FFF == program_id and p[3] >> 6 for p in packets)
    if format_name == "mpeg":  # the scrambling bits of a DVD's video packets
        return any(
            match[1][0] & 0xF0 > 0x80 for match in re.finditer(rb"\x00\x00\x01\xe0..([\x80-\xbf])", head, re.DOTALL)
        )
    return False
