"""The classes of a long video over time: scores of windows, and the segments that they make."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from videozoo.data import VideoError, VideoRecord, create_transform
from videozoo.jobs.prediction import best_classes
from videozoo.video.errors import reading
from videozoo.video.sequential_reader import IMAGES_FPS, WholeVideo

from .sliding import ShownFrames, sliding_clips

# Frames a second that a window has by default, where a model does not say how far its frames lie apart: its clips in
# training were whole videos of some seconds. `videozoo stream` takes as many.
WINDOW_FPS = 4.0
SHORTEST_SEC = 0.01
# Of two times that are nearer to each other one is enough.
LEAST_SEC = 1e-5
# Containers state rates above for videos whose frames have any times.
HIGHEST_FPS = 240.0


class Segment(NamedTuple):
    """A part of a video with one class: seconds from the first frame on, the class, its mean score, its number."""

    start_sec: float
    end_sec: float
    label: str
    score: float
    class_index: int


@dataclass(frozen=True, eq=False)
class WindowScores:
    """The scores of windows that slide over a video.

    Args:
        path: the video, as given.
        start_sec, end_sec: of each window, float64 (N,), rising. Seconds from the first frame on.
        scores: float32 (N, C).
        duration_sec: of the video.
        class_names: name of each class.
        note: what is odd about the video, None where nothing is.
    """

    path: str
    start_sec: np.ndarray
    end_sec: np.ndarray
    scores: np.ndarray
    duration_sec: float
    class_names: Sequence[str] = field(repr=False)
    note: str | None = None

    @cached_property
    def bounds_sec(self) -> np.ndarray:
        """The times between which the same windows cover the video, float64 (M + 1,), from 0 to the duration."""
        gaps = np.flatnonzero(self.end_sec[:-1] < self.start_sec[1:])
        middles = (self.end_sec[gaps] + self.start_sec[gaps + 1]) / 2
        times = np.concatenate([self.start_sec, self.end_sec, middles]).round(6)
        inside = np.unique(times[(times > 0) & (times < self.duration_sec - LEAST_SEC)])
        return np.concatenate([[0.0], inside, [self.duration_sec]])

    @cached_property
    def moments(self) -> np.ndarray:
        """The scores between these times, float32 (M, C): the mean of the windows that cover it, or the nearest one."""
        middles = (self.bounds_sec[:-1] + self.bounds_sec[1:]) / 2
        first, stop = np.searchsorted(self.end_sec, middles, "right"), np.searchsorted(self.start_sec, middles, "right")
        last = len(self.scores) - 1
        before, after = np.clip(stop - 1, 0, last), np.clip(first, 0, last)
        is_later = middles - self.end_sec[before] > np.abs(self.start_sec[after] - middles)
        first = np.where(first < stop, first, np.where(is_later, after, before))
        stop = np.maximum(stop, first + 1)
        sums = np.concatenate([np.zeros((1, self.scores.shape[1])), self.scores.cumsum(0, np.float64)])
        return ((sums[stop] - sums[first]) / (stop - first)[:, None]).astype(np.float32)

    def at(self, time_sec: float) -> int:
        """Return the row of ``moments`` of a time."""
        return int(np.clip(np.searchsorted(self.bounds_sec, time_sec, "right") - 1, 0, len(self.moments) - 1))

    def segments(self) -> list[Segment]:
        """Return the parts of the video that have one class: neighboring ``moments`` with the same best one are joined.

        The first segment begins at 0, the last ends with the video.
        """
        best, bounds = best_classes(self.moments, 1)[:, 0], self.bounds_sec
        found = []
        for label, group in groupby(range(len(best)), best.__getitem__):
            rows = list(group)
            score = float(np.average(self.moments[rows, label], weights=np.diff(bounds)[rows]))
            start_sec, end_sec = float(bounds[rows[0]]), float(bounds[rows[-1] + 1])
            found.append(Segment(start_sec, end_sec, self.class_names[label], score, int(label)))
        return found


@dataclass(frozen=True)
class WindowScorer:
    """Functions of a predictor that `score_windows` needs.

    Args:
        config: how its model wants videos, one clip.
        score: from uint8 clips (N, num_crops, 3, T, h, w) to scores (N, C).
        score_whole: gives the scores (C,) of a short video, or raises VideoError.
        open_stream: for a causal model a function from each next frame, uint8 (num_crops, 3, 1, h, w), to the scores
            (C,) of the last T. None: there is no such form.
        max_clips: clips that are scored together.
    """

    config: Mapping[str, Any]
    score: Callable[[Tensor], np.ndarray]
    score_whole: Callable[[VideoRecord], np.ndarray]
    open_stream: Callable[[], Callable[[Tensor], np.ndarray]] | None
    max_clips: int


def score_windows(
    record: VideoRecord,
    scorer: WindowScorer,
    class_names: Sequence[str],
    *,
    window_sec: float | None = None,
    stride_sec: float | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> WindowScores:
    """Score windows that slide over a video, which is read once and never in memory as a whole.

    Args:
        record: the video.
        scorer: of the model.
        window_sec, stride_sec, on_progress: as for `Predictor.windows`.
    Raises:
        ValueError: a window or stride that is too short.
        VideoError: the video cannot be read, or its scores are not finite.
    """
    for name, value in (("window_sec", window_sec), ("stride_sec", stride_sec)):
        if value is not None and not SHORTEST_SEC <= value < math.inf:
            raise ValueError(f"Predictor.windows: {name} is {value}; it must be at least {SHORTEST_SEC} seconds.")
    config = scorer.config
    transform: Any = create_transform(**config, normalize=False)

    def look(image: np.ndarray) -> Tensor:
        seen: Tensor = transform(torch.from_numpy(image).permute(2, 0, 1)[None])
        return seen

    num_places = config["num_frames"] // config["frames_per_segment"]
    starts, ends, scores = [], [], []
    with reading(record.path), WholeVideo(record.path, **record.part) as video:
        window_sec = window_sec or default_window(config, float(video.fps or IMAGES_FPS))
        shown = ShownFrames(video, look, config["frames_per_segment"])
        parts = (shown, num_places, window_sec, stride_sec or window_sec / 2)
        rows = _stream(*parts, scorer.open_stream()) if scorer.open_stream else _slide(*parts, scorer)
        for start_sec, end_sec, row in rows:
            starts.append(start_sec)
            ends.append(end_sec)
            scores.append(row)
            if on_progress is not None:
                on_progress(end_sec)
        note, duration_sec = video.note or None, shown.duration_sec
    if not scores:  # the video is shorter than a window
        starts, ends, scores = [0.0], [duration_sec], [scorer.score_whole(record)]
    if not np.isfinite(scores).all():
        raise VideoError(record.path, "the model's scores are not finite")
    return WindowScores(
        str(record.path),
        np.array(starts, np.float64),
        np.array(ends, np.float64),
        np.array(scores, np.float32),
        duration_sec,
        class_names,
        note,
    )


def default_window(config: Mapping[str, Any], fps: float) -> float:
    """Return the seconds that a clip of the model spans in a video.

    With dense sampling its frames lie ``frame_stride`` apart, else ``WINDOW_FPS`` of them fill a second.

    Args:
        config: how the model wants videos.
        fps: frames per second of the video.
    """
    num_places = config["num_frames"] // config["frames_per_segment"]
    if config["frame_sampling"] == "dense" and fps <= HIGHEST_FPS:
        return float(num_places * config["frame_stride"] / fps)
    return float(num_places / WINDOW_FPS)


Rows = Generator[tuple[float, float, np.ndarray]]  # start and end of a window, and its scores (C,)


def _slide(shown: ShownFrames, num_places: int, window_sec: float, stride_sec: float, scorer: WindowScorer) -> Rows:
    """Clips of windows, scored some at a time."""
    waiting = []
    at_a_time = max(scorer.max_clips // scorer.config["test_num_crops"], 1)
    for window in sliding_clips(shown, num_places, window_sec, stride_sec):
        waiting.append(window)
        if len(waiting) == at_a_time:
            yield from _scored(waiting, scorer)
            waiting.clear()
    if waiting:
        yield from _scored(waiting, scorer)


def _scored(windows: list[Any], scorer: WindowScorer) -> Rows:
    rows = scorer.score(torch.stack([window.clip for window in windows]))
    for window, row in zip(windows, rows, strict=True):
        yield window.start_sec, window.end_sec, row


def _stream(
    shown: ShownFrames,
    num_places: int,
    window_sec: float,
    stride_sec: float,
    answer: Callable[[Tensor], np.ndarray],
) -> Rows:
    """Frame by frame: an answer is of the last window, so that each frame costs one step, however near windows lie.

    Windows begin whole frames apart. The last one ends with the last frame.
    """
    part_sec = window_sec / num_places
    every = max(round(stride_sec / part_sec), 1)
    number, row, is_given = 0, None, True
    for number, seen in enumerate(shown.at((k + 0.5) * part_sec for k in count()), 1):
        row, first = answer(seen), number - num_places
        is_given = first < 0 or first % every == 0
        if first >= 0 and is_given:
            yield first * part_sec, number * part_sec, row
    if row is not None and not is_given:
        yield (number - num_places) * part_sec, number * part_sec, row
