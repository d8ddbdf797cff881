"""Tests of VideoDataset samples, which do not depend on the number of workers."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from videozoo.data import (
    VideoDataset,
    VideoError,
    VideoRecord,
    create_transform,
    load_source,
    read_frames,
    sample_clips,
)

COLORS: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[VideoRecord]:
    folder = tmp_path_factory.mktemp("videos")
    paths = [make_video(folder / f"{n}.mp4", num_frames=10 + 5 * n) for n in range(4)]
    return [VideoRecord(path, n % 2, f"train.txt:{n + 1}") for n, path in enumerate(paths)]


def _training(records: list[VideoRecord], seed: int = 0, **options: Any) -> VideoDataset:
    transform = create_transform((3, 32, 32), is_training=True, **COLORS, **options)
    return VideoDataset(records, transform, num_frames=4, is_training=True, seed=seed)


def _videos(dataset: VideoDataset, **options: Any) -> list[Tensor]:
    return [batch["video"][0] for batch in DataLoader(dataset, batch_size=1, **options)]


def _are_equal(ours: list[Tensor], theirs: list[Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)]


def test_training_sample(records: list[VideoRecord]) -> None:
    sample = _training(records)[3]
    assert sample["video"].shape == (3, 4, 32, 32)
    assert sample["video"].dtype == torch.float32
    assert (sample["label"], sample["index"]) == (1, 3)
    assert [s["label"] for s in (_training(records, hflip=1.0, flip_labels={0: 1, 1: 0})[i] for i in range(4))] == [
        1,
        0,
    ] * 2


def test_testing_sample_is_every_view(records: list[VideoRecord], read_numbers: Callable[[Tensor], list[int]]) -> None:
    transform = create_transform((3, 48, 48), crop_pct=1.0, num_crops=3, **COLORS)
    dataset = VideoDataset(records, transform, num_frames=4, num_clips=2)
    video = dataset[2]["video"]
    assert video.shape == (6, 3, 4, 48, 48)
    clips = sample_clips(20, num_frames=4, num_clips=2)
    frames = read_frames(records[2].path, clips.ravel())
    # Three crops of 48 columns start at 0, 8 and 16 of 64: together they hold every bar.
    whole = torch.cat([video[0::3][..., :48], video[2::3][..., 32:]], -1).transpose(1, 2).flatten(0, 1)
    assert read_numbers((whole * 255).round().to(torch.uint8)) == clips.ravel().tolist() == read_numbers(frames)


def test_draws_depend_on_seed_epoch_and_index_alone(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    plain = _videos(dataset)
    torch.manual_seed(77)
    assert all(_are_equal(plain, _videos(dataset, num_workers=2)))
    assert torch.equal(dataset[1]["video"], plain[1])
    assert not any(_are_equal(plain, _videos(_training(records, seed=1))))
    dataset.set_epoch(1)
    assert not any(_are_equal(plain, _videos(dataset)))
    dataset.set_epoch(0)
    assert all(_are_equal(plain, _videos(dataset)))


def test_living_workers_hear_of_the_epoch(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    loader = DataLoader(dataset, batch_size=1, num_workers=2, persistent_workers=True)
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        ours = [batch["video"][0] for batch in loader]
        alone = _training(records)
        alone.set_epoch(epoch)
        assert all(_are_equal(ours, _videos(alone)))


def test_global_random_numbers_are_left_alone(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    dataset[0]
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()


def test_pickles(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    dataset.set_epoch(3)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.epoch == 3
    assert torch.equal(copy[0]["video"], dataset[0]["video"])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_broken_video_names_file_and_line(
    num_workers: int, tmp_path: Path, video_error: Callable[..., VideoError]
) -> None:
    (tmp_path / "broken: x.mp4").write_bytes(b"no video")
    broken = VideoRecord(tmp_path / "broken: x.mp4", 0, "train.txt:9")
    error = video_error(_training([broken]), num_workers=num_workers)
    assert error.path == broken.path
    assert error.reason == "not a video, or of a format that FFmpeg does not know [listed in train.txt:9]"


def test_short_and_single_frame_videos(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    record = VideoRecord(make_video(tmp_path / "one.mp4", num_frames=1), 0, "")
    for sampling in ("segment", "dense", "uniform"):
        transform = create_transform((3, 32, 32))
        dataset = VideoDataset([record], transform, num_frames=8, sampling=sampling, num_clips=3, frame_stride=4)
        assert dataset[0]["video"].shape == (3, 3, 8, 32, 32)


def test_indices(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    assert len(dataset) == 4
    assert dataset[-1]["index"] == 3
    assert [item["index"] for item in dataset] == [0, 1, 2, 3]
    with pytest.raises(IndexError):
        dataset[-5]


def test_indices_past_the_end_are_further_draws(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    draws = [dataset[2 + 4 * repeat] for repeat in range(3)]
    assert [draw["index"] for draw in draws] == [2, 2, 2]
    assert not torch.equal(draws[0]["video"], draws[1]["video"])
    assert torch.equal(draws[1]["video"], dataset[6]["video"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "center"}, "unknown sampling 'center'"),
        ({"num_clips": 2, "is_training": True}, "num_clips is 2 in training"),
        ({"seed": -1}, "seed is -1"),
        ({"records": []}, "no records"),
    ],
)
def test_refuses(options: dict[str, Any], message: str, records: list[VideoRecord]) -> None:
    arguments = {"records": records, "transform": create_transform(), "num_frames": 4, **options}
    with pytest.raises(ValueError, match=message):
        VideoDataset(**arguments)


def test_real_clips(shared_data: Path) -> None:
    source = load_source(shared_data / "order4" / "val.txt")
    transform = create_transform((3, 64, 64), crop_pct=1.0)
    dataset = VideoDataset(source.records[:6], transform, num_frames=8)
    batch = next(iter(DataLoader(dataset, batch_size=6)))
    assert batch["video"].shape == (6, 1, 3, 8, 64, 64)
    assert batch["video"].std() > 0.1


def test_a_video_of_a_class_folder_is_named_without_a_list(tmp_path: Path) -> None:
    path = tmp_path / "root" / "jump" / "a.mp4"
    assert VideoRecord(path, 0, "root/jump/a.mp4").listed == ""
    assert VideoRecord(path, 0, str(path)).listed == VideoRecord(path, 0, "").listed == ""
    assert VideoRecord(path, 0, "train.txt:3").listed == " [listed in train.txt:3]"
