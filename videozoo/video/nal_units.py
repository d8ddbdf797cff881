"""A look at H.264 and HEVC packets without decoding them."""

from dataclasses import dataclass

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

# H.264: slices, and what may stand beside them without a meaning for other frames (SEI, delimiter, filler).
SLICES = frozenset({1, 2, 3, 4, 5})
BESIDE = frozenset({6, 9, 12})


@dataclass(frozen=True)
class NalFormat:
    """Division of a stream's packets, in containers that put lengths before the units (mp4, mov, mkv).

    Args:
        is_h264: else HEVC.
        prefix: bytes of a length.
    """

    is_h264: bool
    prefix: int

    def look(self, packet: Packet) -> tuple[bool, bool]:
        """Return whether the lengths add up to the packet, and whether no frame refers to this one (H.264 only)."""
        data, size, at = memoryview(packet), packet.size, 0
        is_unreferenced = self.is_h264
        while at + self.prefix < size:
            end = at + self.prefix + int.from_bytes(data[at : at + self.prefix], "big")
            head = data[at + self.prefix]
            kind = head & 31
            if kind not in BESIDE and (kind not in SLICES or head & 0x60):
                is_unreferenced = False
            at = end
        return at == size, is_unreferenced


def nal_format(context: VideoCodecContext) -> NalFormat | None:
    """Return the division of a stream's packets, or None for other codecs and for start codes (mpegts, avi)."""
    head, name = context.extradata or b"", context.codec.canonical_name
    place = {"h264": 4, "hevc": 21}.get(name)
    if place is None or len(head) <= place or head[0] != 1:
        return None
    return NalFormat(name == "h264", (head[place] & 3) + 1)
