"""Opening a video file by PyAV: its container, the stream that is read, and why there is none."""

from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .byte_window import ByteWindow, Member, ffmpeg_input
from .encryption import HEAD_BYTES, SCRAMBLED_FORMATS, encrypted_tracks, is_scrambled
from .errors import VideoError
from .iso_boxes import FIRST_BOXES
from .limits import MAX_PIXELS, check_frame_size

# Demuxers that find "video" in files that are none (text art), or that only point at other files.
REFUSED_FORMATS = frozenset({"tty", "hls", "dash", "concat", "sdp"})
# Titles may be in any encoding. PyAV 19 replaces what it cannot read by itself, and takes no such option.
_REPLACE: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
ENCRYPTED = "its video is encrypted (copy protection, DRM); only a decrypted copy can be read"


def open_file(path: Path, member: Member | None) -> InputContainer:
    """Open a file, a member of it, or bytes in memory.

    Raises:
        VideoError: FFmpeg cannot. It says why.
    """
    try:
        # Only files of this machine: a play list must not fetch anything. One in memory must not open files either.
        allowed = "none" if isinstance(member, bytes) else "file,subfile"
        return open_container(ffmpeg_input(path, member), protocol_whitelist=allowed)
    except (OSError, ValueError, av.FFmpegError) as err:
        raise VideoError(path, _why_not(path, member, err)) from err


def open_container(name: str | BinaryIO, timeout: tuple[float, float] | None = None, **options: str) -> InputContainer:
    """Open a name of FFmpeg with its options.

    PyAV's errors are the caller's.

    Args:
        name: a file or an address, or an open file.
        timeout: seconds to wait for opening and for each read. None: no limit.
        options: FFmpeg's.
    """
    # Opening decodes some frames: two of 81 million pixels took 350 MB without the limit.
    limited = {"max_pixels": str(MAX_PIXELS), **options}
    more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    return av.open(name, "r", options=limited, **_REPLACE, **more)


def choose_stream(
    path: Path, container: InputContainer, member: Member | None = None, *, is_file: bool = True
) -> VideoStream:
    """Return a container's first video stream, ready to be decoded.

    The others are left out.

    Args:
        path: the file that errors name.
        container: as opened.
        member: as for ``open_file``.
        is_file: look into the file, too, for signs that its video is encrypted.
    Raises:
        VideoError: there is none that can be decoded, or its frames are too large.
    """
    if not REFUSED_FORMATS.isdisjoint(container.format.name.split(",")):
        raise VideoError(path, f"not a video ({container.format.long_name})")
    # The first stream, not the largest: in files with several it is the main one. A cover picture is no video.
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        raise VideoError(path, "it has no video stream that can be read")
    stream = streams[0]
    if is_file and is_encrypted(path, member, stream):
        raise VideoError(path, ENCRYPTED)
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "its video codec is not known to this build of FFmpeg")
    check_frame_size(path, context.width, context.height)
    context.options = {"max_pixels": str(MAX_PIXELS)}
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    stream.thread_type = "NONE"
    context.thread_count = 1
    return stream


def is_encrypted(path: Path, member: Member | None, stream: VideoStream) -> bool:
    """Return True where a file says so: FFmpeg decodes encrypted video to gray frames."""
    name = stream.container.format.name
    if "matroska" in name:
        return "enc_key_id" in stream.metadata
    with ByteWindow(path, member) as data:
        if "mp4" in name:
            tracks = encrypted_tracks(data)
            return tracks[stream.index] if stream.index < len(tracks) else any(tracks)
        return name in SCRAMBLED_FORMATS and is_scrambled(data.read_at(0, HEAD_BYTES), name, stream.id)


def _why_not(path: Path, member: Member | None, err: Exception) -> str:
    if isinstance(err, PermissionError):
        return "it may not be read (permission denied)"
    if isinstance(err, av.error.InvalidDataError):
        with ByteWindow(path, member) as data:
            is_iso = data.read_at(4, 4) in FIRST_BOXES
            if is_iso and any(encrypted_tracks(data)):
                return ENCRYPTED
        if is_iso:
            return "its index (moov) is missing or damaged; the file was cut short or its recording never finished"
        return "not a video, or of a format that FFmpeg does not know"
    return f"FFmpeg cannot open it ({getattr(err, 'strerror', None) or err})"
