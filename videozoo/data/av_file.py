"""Exact frames of a video file, by PyAV."""

import itertools
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from .errors import VideoError

# Decoded frames that counting may keep for the read that follows, in bytes: 10 s of 340x256 take 40 MB.
KEEP_BYTES = 256 * 2**20
# A seek must save at least this many frames of decoding.
SEEK_GAIN_FRAMES = 8
# Demuxers that find "video" in files that are none (text art), or that only point at other files.
REFUSED_FORMATS = frozenset({"tty", "hls", "dash", "concat", "sdp"})
# What an ISO media file (mp4, mov, 3gp) has in its bytes 4 to 8.
ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"})

TakeFrame = Callable[[int, VideoFrame], None]


class AvFile:
    """One video file: counts its frames by decoding them, gives any of them as RGB.

    Frame ``i`` is the i-th frame that really decodes, in presentation order, which is the order a decoder puts out.
    Time stamps are not sorted: in AVI they are guesses that run backwards. A packet that does not decode is skipped, as
    ffmpeg does; so what a damaged file holds is only known once the frames before have been decoded, and the first
    visit of a frame is always sequential. Frames passed by are found again among those kept while counting, else by a
    seek to their keyframe whose time stamps are checked against the first visit; on any doubt by decoding from the
    start.

    One decoding thread: with frame threads FFmpeg loses frames next to a damaged one (25 instead of 27 in a truncated
    file), and the gain was 1.0 to 1.5 times on two cores, which loader workers use anyway.

    Args:
        path: an existing file.
    Raises:
        VideoError: the file cannot be opened, has no video stream, or no frame of it decodes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._containers: list[InputContainer] = []
        self._pts: list[int | None] = []
        self._keyframes: list[int] = []
        self._is_seekable = True
        self._is_finished = False
        self._kept: dict[int, VideoFrame] = {}
        self._kept_bytes = 0
        self._seeker: _Seeker | None = None
        self._reformatter = VideoReformatter()
        try:
            container, stream = self._open()
            frames = self._decode(container, stream)
            first = next(frames, None)
            if first is None:
                raise VideoError(path, f"it has a {_codec_name(stream)} video stream, but no frame of it decodes")
        except BaseException:
            self.close()
            raise
        self._front: Iterator[VideoFrame] = itertools.chain([first], frames)
        self._stored_size = (first.width, first.height)
        self._transpose, self._flip_x, self._flip_y = _orientation(first)
        self.width, self.height = self._stored_size[:: -1 if self._transpose else 1]
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)

    def close(self) -> None:
        """Close the file; frames are no longer to be had."""
        self._kept.clear()
        self._front = iter(())
        while self._containers:
            self._containers.pop().close()

    def count(self) -> int:
        """Number of frames that decode; the whole file is decoded on the first call."""
        self._advance(None, self._keep)
        return len(self._pts)

    def read_into(self, slots: dict[int, list[int]], out: np.ndarray) -> None:
        """Write frame ``i`` to ``out[slots[i]]`` as RGB.

        Args:
            slots: frame index to places in ``out``.
            out: uint8 (N, height, width, 3).
        Raises:
            IndexError: an index is not below the number of frames; its argument is that number.
            VideoError: a frame that decoded before is no longer to be had.
        """

        def take(index: int, frame: VideoFrame) -> None:
            if index in slots:
                out[slots[index]] = self._to_rgb(frame)

        passed = [i for i in sorted(slots) if i < len(self._pts)]
        self._advance(max(slots, default=-1), take)
        if max(slots, default=-1) >= len(self._pts):
            raise IndexError(len(self._pts))
        for i in passed:
            if i in self._kept:
                take(i, self._kept[i])
        self._read_again([i for i in passed if i not in self._kept], take)

    def _read_again(self, indices: list[int], take: TakeFrame) -> None:
        """Second visits, of ascending indices."""
        if indices and self._is_seekable and self._seeker is None:
            container, stream = self._open()
            self._seeker = _Seeker(container, stream, self._decode)
        for n, index in enumerate(indices):
            is_found = (
                self._is_seekable
                and self._seeker is not None
                and self._seeker.find(index, self._pts, self._keyframes, take)
            )
            if not is_found:
                self._is_seekable = False
                self._read_from_start(indices[n:], take)
                return

    def _read_from_start(self, indices: list[int], take: TakeFrame) -> None:
        container, stream = self._open()
        wanted = set(indices)
        for index, frame in enumerate(itertools.islice(self._decode(container, stream), indices[-1] + 1)):
            if index in wanted:
                take(index, frame)
                wanted.remove(index)
        self._containers.remove(container)
        container.close()
        if wanted:
            raise VideoError(self.path, f"frame {min(wanted)} decoded once but not again; did the file change?")

    def _advance(self, until: int | None, take: TakeFrame) -> None:
        """Decode on, for the first time, up to frame ``until`` (None: to the end)."""
        while not self._is_finished and (until is None or len(self._pts) <= until):
            frame = next(self._front, None)
            if frame is None:
                self._is_finished = True
                return
            index = len(self._pts)
            pts, last = frame.pts, self._pts[-1] if self._pts else None
            if pts is None or frame.is_corrupt or (last is not None and pts <= last):
                self._is_seekable = False
            self._pts.append(pts)
            if frame.key_frame:
                self._keyframes.append(index)
            take(index, frame)

    def _keep(self, index: int, frame: VideoFrame) -> None:
        size = sum(plane.buffer_size for plane in frame.planes)
        if self._kept_bytes + size <= KEEP_BYTES:
            self._kept[index] = frame
            self._kept_bytes += size

    def _open(self) -> tuple[InputContainer, VideoStream]:
        try:
            # Only files of this machine: a play list must not fetch anything. Titles may be in any encoding.
            container = av.open(
                os.path.abspath(self.path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
            )
        except (OSError, ValueError, av.FFmpegError) as err:
            raise VideoError(self.path, _open_reason(self.path, err)) from err
        self._containers.append(container)
        if not REFUSED_FORMATS.isdisjoint(container.format.name.split(",")):
            raise VideoError(self.path, f"not a video ({container.format.long_name})")
        # The first stream, not the largest: in files with several it is the main one. A cover picture is no video.
        attached = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & attached]
        if not streams:
            raise VideoError(self.path, "it has no video stream that can be read")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(self.path, "its video codec is not known to this build of FFmpeg")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        return container, stream

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Frames from the container's position on; damage is skipped and remembered."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, EOFError):
                self._is_seekable = False
                packet = None
            try:
                # The demuxer ends with an empty packet, which flushes the decoder; one that failed gives none.
                yield from stream.decode(packet)
            except av.FFmpegError as err:
                self._is_seekable = self._is_seekable and isinstance(err, EOFError)
            if packet is None:
                return

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) after rotation; alpha is dropped, a frame of another size is scaled to the first one's."""
        width, height = self._stored_size
        try:
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        except (av.FFmpegError, ValueError) as err:
            raise VideoError(self.path, f"a {frame.format.name} frame cannot be turned into RGB ({err})") from err
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        image = rows[:, : width * 3].reshape(height, width, 3)
        if self._transpose:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self._flip_y else 1, :: -1 if self._flip_x else 1]


class _Seeker:
    """Second visits: moves about in a container whose frames are known from the first visit."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        decode: Callable[[InputContainer, VideoStream], Iterator[VideoFrame]],
    ) -> None:
        self._container, self._stream, self._decode = container, stream, decode
        self._frames = decode(container, stream)
        self._next = 0

    def find(self, target: int, pts: list[int | None], keyframes: list[int], take: TakeFrame) -> bool:
        """Hand frame ``target`` to ``take``; False if the container does not give what ``pts`` says."""
        key = keyframes[bisect_right(keyframes, target) - 1] if keyframes and keyframes[0] <= target else None
        is_far = target < self._next or (key is not None and key > self._next + SEEK_GAIN_FRAMES)
        if is_far and (key is None or not self._seek(key, pts[key])):
            return False
        while self._next <= target:
            frame = next(self._frames, None)
            if frame is None or frame.pts != pts[self._next] or frame.is_corrupt:
                return False
            if self._next == target:
                take(target, frame)
            self._next += 1
        return True

    def _seek(self, key: int, key_pts: int | None) -> bool:
        """Go to keyframe ``key``: its frame is the next one; False if the container lands elsewhere."""
        if key_pts is None:
            return False
        try:
            self._container.seek(key_pts, stream=self._stream, backward=True)
            self._frames = self._decode(self._container, self._stream)
            # Frames before the keyframe: from an earlier landing, or leading ones that lack their references.
            frame = next((f for f in self._frames if f.pts is None or f.pts >= key_pts), None)
        except av.FFmpegError:
            return False
        if frame is None or frame.pts != key_pts or not frame.key_frame:
            return False
        self._frames = itertools.chain([frame], self._frames)
        self._next = key
        return True


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror x, mirror y) that turn a stored frame as its display matrix asks.

    FFmpeg's matrix maps (x, y) to (a x + c y, b x + d y), y downwards; angles are taken to the next quarter turn.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(memoryview(matrix))[:20])
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def _codec_name(stream: VideoStream) -> str:
    return stream.codec_context.name


def _open_reason(path: Path, err: Exception) -> str:
    if isinstance(err, PermissionError):
        return "it may not be read (permission denied)"
    if isinstance(err, av.error.InvalidDataError):
        with open(path, "rb") as file:
            head = file.read(8)
        if head[4:] in ISO_BOXES:
            return "its index (moov) is missing or damaged; the file was cut short or its recording never finished"
        return "not a video, or of a format that FFmpeg does not know"
    return f"FFmpeg cannot open it ({getattr(err, 'strerror', None) or err})"
