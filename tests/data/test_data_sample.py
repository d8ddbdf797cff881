"""Tests of frame sampling."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data import SAMPLINGS, sample_clips

counts = st.integers(1, 400)


@given(n=counts, t=st.integers(1, 40), clips=st.integers(1, 25), stride=st.integers(1, 20), train=st.booleans())
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_always_in_range_and_in_order(sampling: str, n: int, t: int, clips: int, stride: int, train: bool) -> None:
    def draw() -> np.ndarray:
        return sample_clips(
            n,
            num_frames=t,
            sampling=sampling,
            num_clips=clips,
            frame_stride=stride,
            is_training=train,
            generator=np.random.default_rng(3),
        )

    frames = draw()
    assert frames.shape == (clips, t)
    assert frames.dtype == np.int64
    assert frames.min() >= 0
    assert frames.max() < n
    if sampling != "dense" or n > (t - 1) * stride:
        assert (np.diff(frames) >= 0).all()
    assert (draw() == frames).all()


@given(n=counts, t=st.integers(1, 64))
def test_segment_testing_is_the_authors_formula(n: int, t: int) -> None:
    tick = n / float(t)
    centers = [int(tick / 2.0 + tick * x) for x in range(t)]
    starts = [int(tick * x) for x in range(t)]
    assert sample_clips(n, num_frames=t).tolist() == [centers]
    assert sample_clips(n, num_frames=t, num_clips=2).tolist() == [centers, starts]


@given(n=counts, t=st.integers(1, 32), seed=st.integers(0, 99))
def test_segment_training_takes_one_frame_of_each_segment(n: int, t: int, seed: int) -> None:
    frames = sample_clips(n, num_frames=t, is_training=True, generator=np.random.default_rng(seed))[0]
    for x, frame in enumerate(frames):
        start, stop = n * x // t, n * (x + 1) // t
        assert start <= frame < max(stop, start + 1)


def test_segment_training_reaches_every_frame() -> None:
    generator = np.random.default_rng(0)
    seen = {i for _ in range(400) for i in sample_clips(21, num_frames=4, is_training=True, generator=generator)[0]}
    assert seen == set(range(21))


def test_more_segment_clips_spread_evenly() -> None:
    assert sample_clips(40, num_frames=2, num_clips=4).tolist() == [[0, 20], [5, 25], [10, 30], [15, 35]]


def test_dense() -> None:
    one = sample_clips(100, num_frames=4, sampling="dense", frame_stride=8)
    assert one.tolist() == [[34, 42, 50, 58]]
    three = sample_clips(100, num_frames=4, sampling="dense", frame_stride=8, num_clips=3)
    assert three[:, 0].tolist() == [0, 34, 68]
    assert three[2].tolist() == [68, 76, 84, 92]
    short = sample_clips(5, num_frames=4, sampling="dense", frame_stride=2)
    assert short.tolist() == [[0, 2, 4, 1]]


@given(n=counts, t=st.sampled_from([4, 8, 16, 32]))
def test_dense_testing_is_the_authors_formula(n: int, t: int) -> None:
    """TSM: ten clips whose windows of 64 frames start evenly spread."""
    starts = np.linspace(0, max(1, 1 + n - 64) - 1, num=10, dtype=int)
    expected = [[(x * (64 // t) + start) % n for x in range(t)] for start in starts]
    found = sample_clips(n, num_frames=t, sampling="dense", frame_stride=64 // t, num_clips=10)
    assert found.tolist() == expected


def test_uniform() -> None:
    assert sample_clips(100, num_frames=4, sampling="uniform").tolist() == [[0, 33, 66, 99]]
    assert sample_clips(9, num_frames=1, sampling="uniform").tolist() == [[4]]
    assert sample_clips(8, num_frames=4, num_clips=2, sampling="uniform").tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_runs_of_frames_lie_in_a_row() -> None:
    """TDN's authors: tick = (N - 4) / segments, then five frames from there."""
    five = sample_clips(100, num_frames=40, frames_per_segment=5)[0].reshape(8, 5)
    assert five[:, 0].tolist() == [int(96 / 8 / 2 + 96 / 8 * x) for x in range(8)]
    assert (np.diff(five, axis=1) == 1).all()
    assert sample_clips(20, num_frames=10, sampling="uniform", frames_per_segment=5)[0].tolist() == [
        *range(5),
        *range(15, 20),
    ]
    dense = sample_clips(50, num_frames=4, sampling="dense", frame_stride=8, frames_per_segment=2)
    assert dense.tolist() == [[16, 17, 24, 25]]
    assert sample_clips(2, num_frames=6, frames_per_segment=3).tolist() == [[0, 1, 1, 0, 1, 1]]


@given(n=counts, segments=st.integers(1, 16), k=st.integers(1, 7), seed=st.integers(0, 99))
def test_runs_in_training_stay_inside_the_video(n: int, segments: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = sample_clips(n, num_frames=segments * k, frames_per_segment=k, is_training=True, generator=rng)
    runs = frames.reshape(segments, k)
    assert runs.min() >= 0
    assert runs.max() < n
    assert (np.diff(runs, axis=1) == (1 if n >= k else np.minimum(np.diff(runs, axis=1), 1))).all()
    assert (np.diff(runs[:, 0]) >= 0).all()


def test_short_videos_repeat() -> None:
    assert sample_clips(3, num_frames=8).tolist() == [[0, 0, 0, 1, 1, 2, 2, 2]]
    assert sample_clips(1, num_frames=4, is_training=True).tolist() == [[0, 0, 0, 0]]


def test_without_a_generator_torch_decides() -> None:
    def draw() -> list[list[int]]:
        return sample_clips(1000, num_frames=8, is_training=True).tolist()

    torch.manual_seed(5)
    first, second = draw(), draw()
    torch.manual_seed(5)
    assert first == draw()
    assert first != second


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="unknown sampling 'center'; choose from segment, dense, uniform"):
        sample_clips(10, num_frames=2, sampling="center")
    with pytest.raises(ValueError, match="num_video_frames is 0"):
        sample_clips(0, num_frames=2)
    with pytest.raises(ValueError, match="9 frames are no whole number of runs of 5"):
        sample_clips(10, num_frames=9, frames_per_segment=5)
