"""Frames of a stream at a network address: an IP camera, a web server, a broadcast."""

import logging
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from .av_stream import AvStream
from .errors import VideoError, reading
from .limits import WorkLimit
from .open_file import open_container

logger = logging.getLogger(__name__)

SCHEMES = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
# What FFmpeg may open behind an address: never a file of this machine.
PROTOCOLS = "crypto,data,http,httpproxy,https,rtmp,rtmps,rtp,rtsp,rtsps,srt,srtp,tcp,tls,udp"
# Seconds without a connection, and without data.
OPEN_SEC, READ_SEC = 10.0, 10.0
# Seconds to wait before each new attempt; after the last one the stream counts as gone.
PAUSES_SEC = (0.5, 1.0, 2.0, 4.0, 8.0)


class NetworkError(VideoError):
    """A stream that cannot be read.

    ``str(error)`` has its address without user name and password.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = without_password(address)

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


def is_address(text: str) -> bool:
    """Return True for an address of one of ``SCHEMES``."""
    scheme, mark, rest = text.partition("://")
    return bool(mark and rest) and scheme.lower() in SCHEMES


def without_password(address: str) -> str:
    """Return the address without user name and password."""
    return re.sub(r"//[^/?#]*@", "//", address)


def is_live(address: str) -> bool:
    """Return True where frames come when they are sent, not when they are asked.

    Http waits for its reader.
    """
    return not address.lower().startswith("http")


def network_frames(address: str) -> Generator[tuple[float, VideoFrame]]:
    """Yield decoded frames and their seconds, which rise, and connect again where the connection breaks.

    A file that a web server sends ends with its last frame. Anything else ends when no connection can be made any more.

    Args:
        address: see ``is_address``.
    Raises:
        NetworkError: the first connection fails, or a later one and all attempts after it.
    """
    now, arrived, failures = 0.0, 0.0, 0
    while True:
        base = now + (time.monotonic() - arrived if now else 0.0)
        try:
            with reading(address):
                path = Path(address)
                connection = AvStream(path, None, WorkLimit(path, None), _connect(address))
                # Web servers state the size of a file.
                is_file = not is_live(address) and (connection.container.size or 0) > 0
            try:
                for seconds, frame in _from_zero(connection):
                    if is_file and base and seconds <= now:
                        continue  # sent again from its start
                    now = seconds if is_file else max(base + seconds, now)
                    arrived, failures = time.monotonic(), 0
                    yield now, frame
                if is_file and not connection.is_damaged:
                    return
                reason = "the connection ended"
            finally:
                connection.close()
        except VideoError as error:
            reason = error.reason
        if not arrived:
            raise NetworkError(address, reason)
        if failures == len(PAUSES_SEC):
            raise NetworkError(address, f"{reason}; {failures} attempts to connect again failed")
        logger.warning("%s: %s; connecting again", without_password(address), reason)
        time.sleep(PAUSES_SEC[failures])
        failures += 1


def _from_zero(connection: AvStream) -> Iterator[tuple[float, VideoFrame]]:
    first: float | None = None
    with reading(connection.path):
        for seconds, frame in connection.shown():
            first = seconds if first is None else first
            yield seconds - first, frame


def _connect(address: str) -> InputContainer:
    options = {"protocol_whitelist": PROTOCOLS}
    if address.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # over UDP lost packets damage frames
    try:
        return open_container(address, (OPEN_SEC, READ_SEC), **options)
    except av.error.ExitError as error:
        raise VideoError(address, f"no answer within {OPEN_SEC:g} s") from error
    except (OSError, ValueError, av.FFmpegError) as error:
        raise VideoError(address, f"no connection ({getattr(error, 'strerror', None) or error})") from error
