"""Sampling of frames: segment, dense and uniform."""

import operator

import numpy as np
import torch

from videozoo.bounds import CHOICES

SAMPLINGS: tuple[str, ...] = CHOICES["frame_sampling"]


def sample_clips(
    num_video_frames: int,
    *,
    num_frames: int,
    sampling: str = "segment",
    num_clips: int = 1,
    frame_stride: int = 1,
    frames_per_segment: int = 1,
    is_training: bool = False,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Choose the frames of each clip of a video.

    - ``segment`` (TSN, Wang et al., 2016, arXiv:1608.00859): T equal segments of N / T frames. Training takes a random
      frame of each. Testing takes frame ``int(tick * x + tick * offset)`` of segment x, tick = N / T, with offset 1/2
      for one clip, 1/2 then 0 for two (the order of TSM's authors), c / num_clips for clip c of more.
    - ``dense``: T frames ``frame_stride`` apart, a window of T * frame_stride frames as in the code of TSM's authors
      and in MMAction2. Training starts anywhere the window fits. Testing starts by linspace from the first to the last
      place where it fits, rounded down, one clip in the middle.
    - ``uniform``: linspace over the whole video, first and last frame included. Several clips interleave. Not
      random in training either.

    Videos too short repeat rather than fail: ``segment`` and ``uniform`` repeat neighboring frames, ``dense`` starts
    at frame 0 and loops, as TSM's authors do.

    Args:
        num_video_frames: frames the video has, N >= 1.
        num_frames: frames of a clip, T >= 1.
        sampling: one of the three above.
        num_clips: clips to take. In training each is a draw of its own.
        frame_stride: video frames from one sampled frame to the next, for ``dense`` only.
        frames_per_segment: frames in a row that are taken at each place, of which a clip then has
            num_frames / frames_per_segment. 5 for TDN (Wang et al., 2021, arXiv:2012.10071).
        is_training: draw at random.
        generator: source of the draws. Without one it is seeded from torch's random numbers.
    Shape:
        int64 (num_clips, num_frames), each in [0, N). Sorted within a clip unless ``dense`` loops or runs overlap.
    Raises:
        ValueError: an unknown sampling, a count below 1, or frames that do not fill whole segments.
    Note: TSM's authors cut training segments of N // T frames and repeat frame 0 in videos shorter than T. Here the
        segments reach the last frame, N * x // T to N * (x + 1) // T, and short videos repeat every frame they have.
    """
    counts = {
        "num_video_frames": num_video_frames,
        "num_frames": num_frames,
        "num_clips": num_clips,
        "frame_stride": frame_stride,
        "frames_per_segment": frames_per_segment,
    }
    for name, value in counts.items():
        if operator.index(value) < 1:
            raise ValueError(f"sample_clips: {name} is {value}, must be at least 1.")
    if num_frames % frames_per_segment:
        raise ValueError(f"sample_clips: {num_frames} frames are no whole number of runs of {frames_per_segment}.")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sample_clips: unknown sampling {sampling!r}; choose from {', '.join(SAMPLINGS)}.")
    if is_training and generator is None:
        generator = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
    if not is_training:
        generator = None
    num_places = num_frames // frames_per_segment
    last = num_video_frames - 1
    num_starts = max(num_video_frames - frames_per_segment + 1, 1)
    if sampling == "segment":
        starts = _segment(num_starts, num_places, num_clips, generator)
    elif sampling == "uniform":
        starts = _uniform(num_starts, num_places, num_clips)
    else:
        starts = _dense(num_starts, num_places, num_clips, frame_stride, generator)
    runs = np.minimum(starts[:, :, None] + np.arange(frames_per_segment), last)
    return runs.reshape(num_clips, num_frames)


def _segment(n: int, t: int, num_clips: int, generator: np.random.Generator | None) -> np.ndarray:
    x = np.arange(t, dtype=np.int64)
    if generator is not None:
        start = n * x // t
        stop = np.maximum(n * (x + 1) // t, start + 1)
        return generator.integers(start, stop, size=(num_clips, t), dtype=np.int64)
    offsets = {1: [0.5], 2: [0.5, 0.0]}.get(num_clips, [c / num_clips for c in range(num_clips)])
    tick = n / t
    frames = np.asarray(offsets)[:, None] * tick + tick * x
    return np.minimum(frames.astype(np.int64), n - 1)


def _dense(n: int, t: int, num_clips: int, stride: int, generator: np.random.Generator | None) -> np.ndarray:
    last_start = max(n - t * stride, 0)
    if generator is not None:
        starts = generator.integers(0, last_start + 1, size=num_clips, dtype=np.int64)
    elif num_clips == 1:
        starts = np.array([last_start // 2], dtype=np.int64)
    else:
        starts = np.linspace(0, last_start, num_clips).astype(np.int64)
    return (starts[:, None] + stride * np.arange(t, dtype=np.int64)) % n


def _uniform(n: int, t: int, num_clips: int) -> np.ndarray:
    points = t * num_clips
    frames = np.linspace(0, n - 1, points) if points > 1 else np.array([(n - 1) / 2])
    return np.ascontiguousarray(np.rint(frames).astype(np.int64).reshape(t, num_clips).T)
