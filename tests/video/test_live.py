"""Tests of live frames: thinned out by time, the newest if the reader is slow."""

import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_fixtures import write_gray_video

from videozoo.video import VideoError, live, read_frames
from videozoo.video.live import LatestFrames, LiveFrame, camera_frames, file_frames, in_real_time


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 20 a second, frame k of gray 10 k."""
    return write_gray_video(tmp_path_factory.mktemp("live") / "video.mp4", "mpeg4")


def numbers(frames: list[LiveFrame]) -> list[int]:
    return [round(frame.image.float().mean().item() / 10) for frame in frames]


@pytest.mark.parametrize(
    ("fps", "expected"), [(5, [0, 4, 8, 12, 16]), (8, [0, 3, 5, 8, 10, 13, 15, 18]), (99, range(20))]
)
def test_a_file_is_thinned_out_by_its_times(video: Path, fps: float, expected: list[int]) -> None:
    frames = list(file_frames(video, fps))
    assert numbers(frames) == list(expected)
    assert [frame.time_sec for frame in frames] == pytest.approx([k / 20 for k in expected], abs=1e-3)
    assert frames[0].image.shape == (3, 48, 64)
    assert frames[0].image.dtype == torch.uint8


def test_of_a_folder_every_image_counts(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save(tmp_path / f"{k}.png")
    frames = list(file_frames(tmp_path, 2))
    assert numbers(frames) == [0, 1, 2]
    assert [frame.time_sec for frame in frames] == [0, 0.5, 1]


def test_unreadable_sources_are_errors(tmp_path: Path, shared_data: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for path in (tmp_path / "none.mp4", tmp_path / "empty.mp4", shared_data / "clips/PHP-FFMpeg/WrongFile.mp4"):
        with pytest.raises(VideoError, match=path.name):
            next(file_frames(path, 4))
    with pytest.raises(VideoError, match="no such camera"):
        next(camera_frames(987, 4))


def test_a_rotated_video_is_upright(shared_data: Path) -> None:
    path = shared_data / "clips/PHP-FFMpeg/portrait.MOV"
    frame = next(file_frames(path, 1))
    assert frame.image.shape[1] > frame.image.shape[2]
    assert torch.equal(frame.image, read_frames(path, [0])[0])


def test_a_slow_reader_gets_the_newest_frame_and_the_number_of_the_others() -> None:
    more, seen = threading.Event(), threading.Event()

    def frames() -> Generator[LiveFrame]:
        for k in range(5):
            yield LiveFrame(k, torch.zeros(3, 1, 1))
        seen.set()
        more.wait(60)
        yield LiveFrame(9, torch.zeros(3, 1, 1))

    with LatestFrames(frames()) as latest:
        assert seen.wait(60)
        taken = iter(latest)
        assert next(taken).time_sec == 4
        assert latest.num_dropped == 4
        more.set()
        assert [frame.time_sec for frame in taken] == [9]
        assert latest.num_dropped == 4


def test_errors_of_the_reading_thread_are_raised() -> None:
    def frames() -> Generator[LiveFrame]:
        yield LiveFrame(0, torch.zeros(3, 1, 1))
        raise VideoError("camera", "gone")

    with LatestFrames(frames()) as latest, pytest.raises(VideoError, match="gone"):
        list(latest)


def test_frames_of_a_file_come_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live.time, "sleep", lambda sec: clock.__setitem__(0, clock[0] + sec))
    due = []
    for frame in in_real_time(iter([LiveFrame(t, torch.zeros(3, 1, 1)) for t in (0.0, 0.5, 2.0)])):
        due.append(clock[0])
        clock[0] += 0.6 if frame.time_sec == 0 else 0.1  # the first takes longer than there is
    assert due == pytest.approx([100.0, 100.6, 102.0])
