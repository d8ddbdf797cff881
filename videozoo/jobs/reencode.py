"""A video written again: small, with keyframes close to each other, so that any frame of it is near at hand."""

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from videozoo.data.records import VideoRecord
from videozoo.files import side_name
from videozoo.video.errors import VideoError
from videozoo.video.sequential_reader import IMAGES_FPS, WholeVideo
from videozoo.video.to_rgb import ONE_THREAD, UprightRgb, orientation, size_of

from .errors import JobError
from .process_pool import is_orphan

# Whole numbers of it are the frames of 24 to 60 a second, NTSC's rates among them, milliseconds and MPEG's 90 kHz.
TIME_BASE = Fraction(1, 360_000)
# Errors of the place that is written to; all files would have them.
DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR}
)


# Of standard definition, as the encoder numbers color spaces; readers assume it of files that say nothing, too.
BT601 = 6


def encoder_name() -> str:
    """H.264 where this build of FFmpeg can write it, else MPEG-4."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


# Changes a frame, uint8 (H, W, 3), given the seconds since the first one.
Draw = Callable[[np.ndarray, float], np.ndarray]


def reencode(
    record: VideoRecord,
    target: Path,
    *,
    short_side: int | None,
    gop: int,
    enlarge_to: int = 0,
    draw: Draw | None = None,
    comment: str = "",
) -> tuple[int, int]:
    """Write a record's frames as an mp4 without sound: scaled, turned upright, in their own time.

    The file is there whole or not at all.

    Args:
        record: what ``load_source(...).records`` gives.
        target: the mp4.
        short_side: of the frames, in pixels. Smaller ones keep their size. None: all do. Sides end up even.
        gop: frames from one keyframe to the next, at most.
        enlarge_to: the short side that smaller frames get.
        draw: changes each frame at its new size.
        comment: kept in the file's metadata.
    Returns:
        number of frames, and bytes of the file.
    Raises:
        VideoError: the record cannot be read.
        JobError: the disk refused.
    """
    temporary = side_name(target)
    try:
        count = _encode(record, temporary, (enlarge_to, short_side), gop, draw, comment)
        if is_orphan():  # the next run may be at this file already
            raise JobError("the run that wanted it is gone")
        size = temporary.stat().st_size
        os.replace(temporary, target)
        return count, size
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise JobError(f"{target}: cannot be written ({os.strerror(error.errno or 0)}).") from error
        raise VideoError(record.path, f"it cannot be encoded ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _encode(
    record: VideoRecord, path: Path, sides: tuple[int, int | None], gop: int, draw: Draw | None, comment: str
) -> int:
    count = 0
    with WholeVideo(record.path, **record.part) as video:
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = video.frames()
        first = next(frames)
        fps = Fraction(video.fps or IMAGES_FPS).limit_denominator(1001)
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = _add_stream(container, *_fit(*size_of(first), *sides), fps, gop)
            if comment:
                container.metadata["comment"] = comment
            if video.pixel_aspect != 1:  # so that players show the frames as wide as the source's
                aspect = video.pixel_aspect
                stream.codec_context.sample_aspect_ratio = 1 / aspect if orientation(first)[0] else aspect
            time_base = Fraction(stream.codec_context.time_base)
            # By way of RGB, which is what a reader sees of both files.
            size = (stream.width, stream.height)
            to_rgb = UprightRgb(record.path, first, size=size, interpolation="BICUBIC")
            to_yuv = VideoReformatter()
            for frame, pts, duration in _timed(itertools.chain([first], frames), time_base, fps):
                pixels = to_rgb(frame) if draw is None else draw(to_rgb(frame), float(pts * time_base))
                # A new frame, as the old one still says how its source kept its colors.
                rgb = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                image = to_yuv.reformat(
                    rgb,
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU601,
                    dst_color_range=ColorRange.MPEG,
                    **ONE_THREAD,
                )
                image.pts, image.time_base, image.duration = pts, time_base, duration
                container.mux(stream.encode(image))
                count += 1
            container.mux(stream.encode(None))
    return count


def _timed(frames: Iterator[VideoFrame], time_base: Fraction, fps: Fraction) -> Iterator[tuple[VideoFrame, int, int]]:
    """Yield each frame with its time from 0 on, which rises, and its duration, in units of ``time_base``.

    The last frame is shown as long as the one before it, a single one as ``fps`` says.
    """
    first = next(frames)
    unit = Fraction(first.time_base or 1) / time_base
    frame, now, duration = first, 0, max(round(1 / (fps * time_base)), 1)
    for after in frames:
        then = max(round(((after.pts or 0) - (first.pts or 0)) * unit), now + 1)
        duration = then - now
        yield frame, now, duration
        frame, now = after, then
    yield frame, now, duration


def _fit(width: int, height: int, least: int, most: int | None) -> tuple[int, int]:
    """Return an even width and height whose short side is between these."""
    short = min(width, height)
    scale = Fraction(min(max(short, least), most or max(short, least)), short)
    return max(round(width * scale) // 2 * 2, 2), max(round(height * scale) // 2 * 2, 2)


def _add_stream(container: OutputContainer, width: int, height: int, fps: Fraction, gop: int) -> VideoStream:
    name, time_base = encoder_name(), TIME_BASE
    if name == "libx264":
        # No B-frames: with a short GOP they gain little, and stored order is shown order, without an edit list.
        options = {"crf": "20", "preset": "veryfast", "bf": "0"}
    else:  # it writes its clock in 16 bits
        time_base = Fraction(1, 60_000)
        options = {"qmin": "2", "qmax": "4"}
    stream: VideoStream = container.add_stream(name, rate=fps, options=options)  # type: ignore[assignment]
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_range = BT601, ColorRange.MPEG.value
    context.time_base, context.gop_size, context.thread_count = time_base, gop, 1
    if name != "libx264":
        context.bit_rate = int(width * height * float(fps))
    return stream
