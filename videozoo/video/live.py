"""Frames in the order in which they come, of a file, a folder of images or a camera, at a chosen rate."""

import contextlib
import errno
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from torch import Tensor

from .errors import VideoError, reading
from .network_stream import network_frames
from .sequential_reader import WholeVideo
from .to_rgb import UprightRgb

CAMERA = "/dev/video{}"


@dataclass(frozen=True)
class LiveFrame:
    """A frame and when it is shown.

    Args:
        time_sec: seconds from the first frame on.
        image: uint8 RGB (3, H, W).
    """

    time_sec: float
    image: Tensor


def file_frames(path: Path, fps: float) -> Generator[LiveFrame]:
    """Yield the frames of a video file by their time stamps, at most ``fps`` a second.

    Of a folder of images every one.

    Raises:
        VideoError: it cannot be read, or no frame of it decodes.
    """
    with reading(path), WholeVideo(path) as video:
        frames = video.frames()
        if video.fps is None:
            yield from _thin_out(path, ((k / fps, frame) for k, frame in enumerate(frames)), fps)
        else:
            yield from _thin_out(path, ((frame.time or 0.0, frame) for frame in frames), fps)


def address_frames(address: str, fps: float) -> Generator[LiveFrame]:
    """Yield the frames of a network stream, at most ``fps`` a second.

    See ``network_frames``.

    Raises:
        NetworkError: it cannot be read.
    """
    with contextlib.closing(network_frames(address)) as frames:
        yield from _thin_out(Path(address), frames, fps)


def camera_frames(index: int, fps: float) -> Generator[LiveFrame]:
    """Yield the frames of a camera through Video4Linux, at most ``fps`` a second, until it is gone.

    Raises:
        VideoError: there is no such camera, or it cannot be read.
    """
    path = Path(CAMERA.format(index))
    if not path.exists():
        raise VideoError(path, "there is no such camera (cameras are read through Video4Linux)")
    try:
        with av.open(str(path), format="v4l2") as container:
            frames = ((time.monotonic(), frame) for frame in container.decode(video=0))
            yield from _thin_out(path, frames, fps)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EBUSY:
            reason = "another program is using it"
        raise VideoError(path, f"the camera cannot be read ({reason})") from error


def in_real_time(frames: Iterator[LiveFrame]) -> Generator[LiveFrame]:
    """Yield each frame when it is due, counted from the first."""
    start = None
    for frame in frames:
        now = time.monotonic()
        if start is None:
            start = now - frame.time_sec
        time.sleep(max(0.0, start + frame.time_sec - now))
        yield frame


class LatestFrames:
    """Reader of the newest frame of a live source, which drops and counts the frames in between.

    A thread reads ahead and keeps one frame. Use it in a ``with`` statement.

    Args:
        frames: what is read. It is closed by the thread.
    """

    def __init__(self, frames: Generator[LiveFrame]) -> None:
        self.num_dropped = 0
        self._frames = frames
        self._newest: LiveFrame | None = None
        self._is_over = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="frames", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    if self._is_closed:
                        break
                    self.num_dropped += self._newest is not None
                    self._newest = frame
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        finally:
            self._frames.close()
            with self._changed:
                self._is_over = True
                self._changed.notify()

    def __iter__(self) -> Iterator[LiveFrame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._is_over)
                frame, self._newest = self._newest, None
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame

    def __enter__(self) -> "LatestFrames":
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True


def _thin_out(path: Path, frames: Iterator[tuple[float, VideoFrame]], fps: float) -> Generator[LiveFrame]:
    """At most ``fps`` frames a second: the first one of each period. Only these are turned into RGB."""
    to_rgb: UprightRgb | None = None
    start: float | None = None
    taken = -1
    for moment, frame in frames:
        if start is None:
            start = moment
        # A thousandth of a period: time stamps are rounded.
        period = int((moment - start) * fps + 1e-3)
        if period > taken:
            taken = period
            to_rgb = to_rgb or UprightRgb(path, frame)
            image = torch.from_numpy(np.ascontiguousarray(to_rgb(frame)))
            yield LiveFrame(moment - start, image.permute(2, 0, 1))
