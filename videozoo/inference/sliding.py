"""Clips of windows that slide over a video, which is read once from its first frame to its last."""

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from av.video.frame import VideoFrame
from torch import Tensor

from videozoo.data.read_sampled import check_aspect
from videozoo.video.frame_clock import SHORTEST_STEP_SEC
from videozoo.video.sequential_reader import IMAGES_FPS, WholeVideo
from videozoo.video.to_rgb import UprightRgb

# Turns a frame, uint8 (H, W, 3), into what a model sees of it, uint8 (num_crops, 3, 1, h, w).
Look = Callable[[np.ndarray], Tensor]


class Window(NamedTuple):
    """A part of a video, in seconds from its first frame, and the clip of it, uint8 (num_crops, 3, T, h, w)."""

    start_sec: float
    end_sec: float
    clip: Tensor


@dataclass
class ShownFrames:
    """Frames shown at increasing times of a video, each decoded once, in order.

    Args:
        video: open, at its beginning.
        look: is called once for a frame, and only where it is wanted.
        run: frames in a row from each moment on. The last one is repeated where the video ends.
        duration_sec: of what was read so far.
    """

    video: WholeVideo
    look: Look
    run: int = 1
    duration_sec: float = field(default=0.0, init=False)

    def at(self, moments: Iterator[float]) -> Iterator[Tensor]:
        """Yield what is seen at each moment, uint8 (num_crops, 3, run, h, w), until the video ends.

        Args:
            moments: seconds from the first frame on, rising, without end.
        Raises:
            VideoError: the video cannot be read.
        """
        moment = next(moments)
        waiting: deque[list[Tensor]] = deque()
        to_rgb: UprightRgb | None = None
        for frame, until in self._frames():
            if to_rgb is None:
                to_rgb = UprightRgb(self.video.path, frame)
                check_aspect(self.video.path, to_rgb.height, to_rgb.width)
            while moment < until:
                waiting.append([])
                moment = next(moments)
            if waiting:
                seen = self.look(np.ascontiguousarray(to_rgb(frame)))
                for frames in waiting:
                    if len(frames) < self.run:
                        frames.append(seen)
            while waiting and len(waiting[0]) == self.run:
                yield torch.cat(waiting.popleft(), 2)
        for frames in waiting:
            yield torch.cat(frames + frames[-1:] * (self.run - len(frames)), 2)

    def _frames(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield each frame and the time until which it is shown."""
        frames = self.video.frames()
        shown = next(frames)
        start, step = shown.time or 0.0, float(1 / (self.video.fps or IMAGES_FPS))
        for frame in frames:
            step = max((frame.time or 0.0) - start - self.duration_sec, SHORTEST_STEP_SEC)
            self.duration_sec += step
            yield shown, self.duration_sec
            shown = frame
        self.duration_sec += step
        yield shown, self.duration_sec


def sliding_clips(shown: ShownFrames, num_places: int, window_sec: float, stride_sec: float) -> Generator[Window]:
    """Yield the clip of each window, in order: in the middle of each of ``num_places`` equal parts what is shown then.

    The first window begins with the video, each other one ``stride_sec`` later. Where they do not lie apart and
    leave more than such a part of the end unseen, one more window ends with the video. Its clip is made of what the
    others saw, the nearest each. There is no window in a video that is shorter.

    Args:
        shown: of the video.
        num_places: places of a clip, ``num_frames / frames_per_segment``.
        window_sec, stride_sec: above 0.
    Raises:
        VideoError: the video cannot be read.
    """
    part_sec = window_sec / num_places
    wanted: deque[tuple[float, int]] = deque()  # moment and window of what comes next

    def moments() -> Iterator[float]:
        # The next place of each window that has begun, and the first place of the one after.
        coming = [(part_sec / 2, 0, 0)]
        while True:
            moment, number, place = heapq.heappop(coming)
            if place == 0:
                heapq.heappush(coming, ((number + 1) * stride_sec + part_sec / 2, number + 1, 0))
            if place + 1 < num_places:
                heapq.heappush(coming, (number * stride_sec + (place + 1.5) * part_sec, number, place + 1))
            wanted.append((moment, number))
            yield moment

    clips: dict[int, list[Tensor]] = {}
    recent: deque[tuple[float, Tensor]] = deque()
    end_sec = None
    for seen in shown.at(moments()):
        moment, number = wanted.popleft()
        recent.append((moment, seen))
        while recent[0][0] < moment - window_sec - stride_sec:
            recent.popleft()
        clip = clips.setdefault(number, [])
        clip.append(seen)
        if len(clip) == num_places:
            end_sec = number * stride_sec + window_sec
            yield Window(number * stride_sec, end_sec, torch.cat(clips.pop(number), 2))
    start_sec = shown.duration_sec - window_sec
    if end_sec is not None and shown.duration_sec - end_sec > part_sec and stride_sec <= window_sec:
        middles = [start_sec + (place + 0.5) * part_sec for place in range(num_places)]
        nearest = [min(recent, key=lambda one: abs(one[0] - middle))[1] for middle in middles]
        yield Window(start_sec, shown.duration_sec, torch.cat(nearest, 2))
