"""A video written anew: small, with keyframes close to each other, so that any frame of it is near at hand."""

import contextlib
import errno
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from videozoo.files import side_name

from .errors import VideoError
from .records import VideoRecord
from .upright import ONE_THREAD, UprightRgb, size_of
from .whole import WholeVideo
from .work import WorkError, is_orphan

# Folders of images have no frame rate: FFmpeg's own choice for them.
IMAGES_FPS = Fraction(25)
# Errors of the place that is written to; all files would have them.
DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR}
)


# Of standard definition, as the encoder numbers colour spaces; readers assume it of files that say nothing, too.
BT601 = 6


class _BadStamps(Exception):
    """Time stamps are missing or do not rise."""


def encoder_name() -> str:
    """H.264 where this build of FFmpeg can write it, else MPEG-4."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def reencode(record: VideoRecord, target: Path, *, short_side: int, gop: int) -> tuple[int, int]:
    """Write a record's frames as an mp4 without sound: scaled, turned upright, in their own time.

    Frames without usable time stamps follow each other at the mean rate. The file is there whole or not at all.

    Args:
        record: what ``load_source(...).records`` gives.
        target: the mp4.
        short_side: of the frames, in pixels; smaller ones keep their size. Sides end up even.
        gop: frames from one keyframe to the next, at most.
    Returns:
        number of frames, and bytes of the file.
    Raises:
        VideoError: the record cannot be read.
        WorkError: the disk refused.
    """
    temporary = side_name(target)
    try:
        try:
            count = _encode(record, temporary, short_side, gop, has_stamps=True)
        except _BadStamps:
            count = _encode(record, temporary, short_side, gop, has_stamps=False)
        if is_orphan():  # the next run may be at this file already
            raise WorkError("the run that wanted it is gone")
        size = temporary.stat().st_size
        os.replace(temporary, target)
        return count, size
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise WorkError(f"{target}: cannot be written ({os.strerror(error.errno or 0)}).") from error
        raise VideoError(record.path, f"it cannot be encoded ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _encode(record: VideoRecord, path: Path, short_side: int, gop: int, *, has_stamps: bool) -> int:
    count = 0
    with WholeVideo(record) as video:
        fps = Fraction(video.fps or IMAGES_FPS).limit_denominator(1001)
        time_base = video.time_base if has_stamps and video.time_base else 1 / fps
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = _timed(video.frames(), time_base, fps, has_stamps and video.time_base is not None)
        first = next(frames)
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = _add_stream(container, *_fit(*size_of(first), short_side), fps, time_base, gop)
            # By way of RGB, which is what a reader sees of both files.
            size = (stream.width, stream.height)
            to_rgb = UprightRgb(record.path, first, size=size, interpolation="BICUBIC")
            to_yuv = VideoReformatter()
            for frame in _chain(first, frames):
                # A new frame, as the old one still says how its source kept its colors.
                rgb = VideoFrame.from_ndarray(np.ascontiguousarray(to_rgb(frame)), format="rgb24")
                image = to_yuv.reformat(
                    rgb,
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU601,
                    dst_color_range=ColorRange.MPEG,
                    **ONE_THREAD,
                )
                image.pts, image.time_base, image.duration = frame.pts, time_base, frame.duration
                container.mux(stream.encode(image))
                count += 1
            container.mux(stream.encode(None))
    return count


def _chain(first: VideoFrame, rest: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    yield first
    yield from rest


def _timed(frames: Iterator[VideoFrame], time_base: Fraction, fps: Fraction, has_stamps: bool) -> Iterator[VideoFrame]:
    """Frames whose pts count from 0, each with its duration: up to the next one, the last as long as the mean."""
    mean = max(round(1 / (fps * time_base)), 1)
    start: int | None = None
    waiting: VideoFrame | None = None
    last = 0
    for number, frame in enumerate(frames):
        stamp = frame.pts if has_stamps else number * mean
        if stamp is None:
            raise _BadStamps
        start = stamp if start is None else start
        if waiting is not None:
            waiting.duration = stamp - start - last
            if waiting.duration <= 0:
                raise _BadStamps
            yield waiting
        frame.pts = last = stamp - start
        waiting = frame
    if waiting is not None:
        waiting.duration = mean
        yield waiting


def _fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Even width and height with at most this short side."""
    scale = min(Fraction(short_side, min(width, height)), Fraction(1))
    return max(round(width * scale) // 2 * 2, 2), max(round(height * scale) // 2 * 2, 2)


def _add_stream(
    container: OutputContainer, width: int, height: int, fps: Fraction, time_base: Fraction, gop: int
) -> VideoStream:
    name = encoder_name()
    if name == "libx264":
        # No B-frames: with a short GOP they gain little, and stored order is shown order, without an edit list.
        options = {"crf": "20", "preset": "veryfast", "bf": "0"}
    else:  # it writes its clock in 16 bits
        time_base = max(time_base, Fraction(1, 65535))
        options = {"qmin": "2", "qmax": "4"}
    stream: VideoStream = container.add_stream(name, rate=fps, options=options)  # type: ignore[assignment]
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_range = BT601, ColorRange.MPEG.value
    context.time_base, context.gop_size, context.thread_count = time_base, gop, 1
    if name != "libx264":
        context.bit_rate = int(width * height * float(fps))
    return stream
