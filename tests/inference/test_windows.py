"""Windows that slide over a video: the right frames, one reading, segments; streams; what is refused."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import randomize
from torch import Tensor
from video_fixtures import MakeVideo

import videozoo
from videozoo import TSM, TSN, Predictor, compose
from videozoo.data import VideoError, VideoReader, VideoRecord, create_transform
from videozoo.inference import Extractor, WindowScores
from videozoo.inference.segments import default_window
from videozoo.inference.sliding import ShownFrames, sliding_clips
from videozoo.video import sequential_reader
from videozoo.video.sequential_reader import WholeVideo

MODEL = "test_dnr_tsn.motions"
Read = Callable[..., Iterator[Any]]


def frame_number(image: np.ndarray) -> Tensor:
    """What a model of these tests sees of a painted frame: its number, (1, 1, 1, 1, 1)."""
    bars = image.astype(np.float32).mean((0, 2)).reshape(8, -1).mean(1) > 127
    return torch.tensor(sum(int(bar) << bit for bit, bar in enumerate(bars))).reshape(1, 1, 1, 1, 1)


def windows_of(path: Path, *sizes: float, run: int = 1, **part: Any) -> list[tuple[float, float, list[int]]]:
    with WholeVideo(path, **part) as video:
        shown = ShownFrames(video, frame_number, run)
        found = [(w.start_sec, w.end_sec, w.clip.flatten().tolist()) for w in sliding_clips(shown, *sizes)]
        return [(round(start, 4), round(end, 4), numbers) for start, end, numbers in found]


def test_each_window_has_the_frames_shown_in_the_middle_of_its_parts(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=50)  # two seconds
    found = windows_of(path, 4, 0.8, 0.4)  # parts of five frames
    assert [row[:2] for row in found] == [(0.0, 0.8), (0.4, 1.2), (0.8, 1.6), (1.2, 2.0)]
    assert [row[2] for row in found] == [[10 * k + n for n in (2, 7, 12, 17)] for k in range(4)]
    # Windows that do not end with the video: a last one is made of what the others saw, no more than half a part away.
    *others, last = windows_of(path, 4, 0.8, 0.45)
    assert [row[:2] for row in others] == [(0, 0.8), (0.45, 1.25), (0.9, 1.7)]
    assert last[:2] == (1.2, 2.0)
    assert all(abs(a - b) <= 5 for a, b in zip(last[2], (32, 37, 42, 47), strict=True))
    # Apart from each other: the parts between are not asked for.
    assert [row[0] for row in windows_of(path, 2, 0.4, 0.9)] == [0, 0.9]
    assert windows_of(path, 4, 2.5, 1.0) == []


def test_runs_of_frames_and_a_video_slower_than_the_windows(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=50)
    assert windows_of(path, 2, 0.8, 0.4, run=3)[1][2] == [15, 16, 17, 25, 26, 27]
    assert windows_of(path, 2, 2.0, 1.0, run=30)[0][2] == [*range(12, 42), *range(37, 50), *[49] * 17]
    slow = make_video(tmp_path / "slow.mp4", num_frames=6, pts=[50 * k for k in range(6)])
    assert windows_of(slow, 4, 1.0, 1.0) == [
        (float(k), k + 1.0, [2 * k, 2 * k, 2 * k + 1, 2 * k + 1]) for k in range(3)
    ]


def test_times_are_those_of_the_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    times = [100, 112, 120, 132, 200, 212, 220, 332, 340, 352]  # in 1/100 s: it begins late and has gaps
    path = make_video(tmp_path / "x.mkv", num_frames=10, pts=times)
    with WholeVideo(path) as video:
        shown = ShownFrames(video, frame_number)
        numbers = [int(seen) for seen in shown.at(0.25 * k + 0.01 for k in count())]
    assert numbers == [max(n for n in range(10) if times[n] <= 101 + 25 * k) for k in range(len(numbers))]
    assert shown.duration_sec == pytest.approx(2.64)


def test_scores_are_those_of_clips_read_one_by_one(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=100)
    predictor = Predictor(MODEL, device="cpu", views="1x3", max_clips=4)
    opened: list[Any] = []
    real = sequential_reader.AvStream
    monkeypatch.setattr(sequential_reader, "AvStream", lambda *args: opened.append(args) or real(*args))
    seconds: list[float] = []
    found = predictor.windows(path, window_sec=1.6, stride_sec=0.8, on_progress=seconds.append)
    assert len(opened) == 1, "the file is read once"
    assert seconds == pytest.approx([1.6, 2.4, 3.2, 4.0])
    assert (found.path, found.duration_sec, found.note) == (str(path), 4.0, None)
    transform: Any = create_transform(**predictor.config)
    with VideoReader(path) as reader:
        clips = torch.stack([transform(reader.read([20 * k + 5 * n + 2 for n in range(8)])) for k in range(4)])
    with torch.inference_mode():
        expected = predictor.model(clips.flatten(0, 1)).softmax(1).unflatten(0, (4, 3)).mean(1)
    np.testing.assert_allclose(found.scores, expected.numpy(), atol=1e-5)
    again = predictor.windows(path.read_bytes(), window_sec=1.6, stride_sec=0.8)
    np.testing.assert_array_equal(again.scores, found.scores)
    part = predictor.windows(VideoRecord(path, -1, "", frame_range=(20, 60)), window_sec=1.6, stride_sec=0.8)
    np.testing.assert_allclose(part.scores, found.scores[1:2], atol=1e-5)


def test_a_short_video_is_scored_as_a_whole(clips: list[Path], predictor: Predictor) -> None:
    found = predictor.windows(clips[0])
    np.testing.assert_array_equal(found.scores[0], predictor(clips[0]).scores)
    (segment,) = predictor.segments(clips[0])
    assert (segment.start_sec, segment.end_sec) == (0.0, found.duration_sec)
    assert (segment.label, segment.score) == (predictor(clips[0]).label, pytest.approx(predictor(clips[0]).score))


def test_a_causal_model_is_streamed(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=60)
    model = randomize(compose("tiny_resnet", TSM(), num_classes=4, num_frames=4, causal=True))
    predictor = Predictor(model.eval(), device="cpu")
    found = predictor.windows(path, window_sec=0.8, stride_sec=0.4)
    assert found.start_sec == pytest.approx([0, 0.4, 0.8, 1.2, 1.6])
    transform: Any = create_transform(**predictor.config)
    with VideoReader(path) as reader:
        seen = transform(reader.read([5 * k + 2 for k in range(12)]))
    stream = predictor.model.streaming()
    rows = [stream(seen[:, :, k]).softmax(1)[0] for k in range(12)]
    np.testing.assert_allclose(found.scores, torch.stack(rows[3::2]).numpy(), atol=1e-5)
    with torch.inference_mode():
        np.testing.assert_allclose(found.scores[0], model(seen[:, :, :4]).softmax(1)[0].numpy(), atol=1e-5)
    assert len(predictor.windows(path, window_sec=0.8, stride_sec=0.6).scores) == 4, "the last one ends with the video"


def test_segments_join_neighbors_of_one_class() -> None:
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]], np.float32)
    start = np.array([0.0, 1.0, 2.0, 2.5])
    windows = WindowScores("x.mp4", start, start + 2, scores, 4.5, ["run", "跳"])
    assert windows.bounds_sec.tolist() == [0, 1, 2, 2.5, 3, 4, 4.5]
    means = [(0.9,), (0.9, 0.7), (0.7, 0.2), (0.7, 0.2, 0.6), (0.2, 0.6), (0.6,)]
    np.testing.assert_allclose(windows.moments[:, 0], [np.mean(row) for row in means], atol=1e-6)
    assert [tuple(row) for row in windows.segments()] == [
        (0.0, 2.0, "run", pytest.approx(0.85), 0),
        (2.0, 2.5, "跳", pytest.approx(0.55), 1),
        (2.5, 3.0, "run", pytest.approx(0.5), 0),
        (3.0, 4.0, "跳", pytest.approx(0.6), 1),
        (4.0, 4.5, "run", pytest.approx(0.6), 0),
    ]
    assert [windows.at(time) for time in (-1, 0, 0.9, 1.1, 4.2, 99)] == [0, 0, 0, 1, 5, 5]


def test_moments_that_no_window_covers_have_the_nearest() -> None:
    scores = np.array([[1, 0], [0, 1]], np.float32)
    windows = WindowScores("x.mp4", np.array([0.0, 3.0]), np.array([1.0, 4.0]), scores, 4.2, ["a", "b"])
    assert [tuple(row) for row in windows.segments()] == [(0.0, 2.0, "a", 1.0, 0), (2.0, 4.2, "b", 1.0, 1)]


def test_the_default_window_is_as_long_as_a_clip() -> None:
    config = {"num_frames": 8, "frames_per_segment": 1, "frame_stride": 4, "frame_sampling": "segment"}
    assert default_window(config, 25.0) == 2.0
    assert default_window({**config, "num_frames": 40, "frames_per_segment": 5}, 25.0) == 2.0
    assert default_window({**config, "frame_sampling": "dense"}, 16.0) == 2.0
    assert default_window({**config, "frame_sampling": "dense"}, 1000.0) == 2.0, "a rate that no video has"


def test_it_refuses(clips: list[Path], predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for video, reason in (
        (tmp_path / "broken.mp4", "not a video"),
        ("absent.mp4", "no such file"),
        (b"", "it is empty"),
        (np.zeros((4, 32, 32, 3), np.uint8), "frames in memory have no times"),
    ):
        with pytest.raises(VideoError, match=reason):
            predictor.windows(video)
    for options in ({"window_sec": 0}, {"stride_sec": float("nan")}, {"window_sec": float("inf")}):
        with pytest.raises(ValueError, match=r"it must be at least 0\.01 seconds"):
            predictor.windows(clips[0], **options)
    with pytest.raises(ValueError, match="views has 2 clips"):
        Predictor(MODEL, device="cpu", views="2x1").windows(clips[0])
    with pytest.raises(ValueError, match="features have no classes"):
        Extractor(MODEL, device="cpu").segments(clips[0])
    model = videozoo.compose("tiny_resnet", TSN(), num_classes=2, num_frames=2)
    model.get_classifier().bias.data[0] = float("nan")
    with pytest.raises(VideoError, match="scores are not finite"):
        Predictor(model, device="cpu").windows(clips[0])
