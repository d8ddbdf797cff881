"""Tests of broken, missing and shrinking files, and of several models on one file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from videozoo.data import (
    JointDataset,
    VideoDataset,
    VideoError,
    VideoRecord,
    collate_clips,
    create_transform,
    load_source,
    read_frames,
    read_sampled,
    sample_clips,
)
from videozoo.data import dataset as dataset_module
from videozoo.data import read_views as views_module

EVERYTHING: dict[str, Any] = {"color_jitter": 0.4, "auto_augment": "rand-m9-n3-p1", "train_resize": 40}


@pytest.fixture
def records(tmp_path: Path, make_video: Callable[..., Path]) -> list[VideoRecord]:
    """Six videos, of which 1 and 4 are broken."""
    paths = [make_video(tmp_path / f"{n}.mp4", num_frames=6 + n) for n in range(6)]
    paths[1].write_bytes(b"no video")
    paths[4].write_bytes(paths[4].read_bytes()[:40])
    return [VideoRecord(path, n, f"train.txt:{n + 1}") for n, path in enumerate(paths)]


def _training(records: list[VideoRecord], on_broken: str = "replace", **options: Any) -> VideoDataset:
    transform = create_transform((3, 32, 32), is_training=True, normalize=False, **EVERYTHING)
    return VideoDataset(
        records, transform, **{"num_frames": 4, "is_training": True, "on_broken": on_broken, "seed": 3, **options}
    )


def _testing(records: list[VideoRecord], on_broken: str = "report", size: int = 32, **options: Any) -> VideoDataset:
    transform = create_transform((3, size, size), normalize=False, num_crops=options.pop("num_crops", 1))
    return VideoDataset(records, transform, **{"num_frames": 4, "on_broken": on_broken, **options})


def test_broken_videos_are_replaced_and_named(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    items = list(dataset)
    for place, item in enumerate(items):
        assert item["video"].shape == (3, 4, 32, 32)
        assert item["index"] in (0, 2, 3, 5)
        assert item["label"] == item["index"]
        if place not in (1, 4):
            assert (item["index"], item["broken"]) == (place, [])
            continue
        assert item["broken"][0][0] == place
        for index, problem in item["broken"]:
            assert problem.startswith(f"{records[index].path}: ")
            assert problem.endswith(f"[listed in train.txt:{index + 1}]")
    sound = _training(records, on_broken="raise")
    assert all(torch.equal(items[n]["video"], sound[n]["video"]) for n in (0, 2, 3, 5))
    with pytest.raises(VideoError, match=r"listed in train\.txt:2"):
        sound[1]


def test_replacements_change_with_epoch_and_draw(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    chosen = set()
    for epoch in range(6):
        dataset.set_epoch(epoch)
        chosen |= {dataset[1]["index"], dataset[7]["index"]}
    assert chosen == {0, 2, 3, 5}


def test_everything_is_the_same_with_any_number_of_workers(records: list[VideoRecord]) -> None:
    def batches(num_workers: int) -> list[dict[str, Any]]:
        loader = DataLoader(_training(records), batch_size=4, num_workers=num_workers, collate_fn=collate_clips)
        return list(loader)

    ours = batches(0)
    assert [len(batch["video"]) for batch in ours] == [4, 2]
    assert {index for batch in ours for index, _ in batch["broken"]} == {1, 4}
    for num_workers in (1, 2):
        for mine, theirs in zip(ours, batches(num_workers), strict=True):
            assert torch.equal(mine["video"], theirs["video"])
            assert torch.equal(mine["index"], theirs["index"])
            assert mine["broken"] == theirs["broken"]


@pytest.mark.slow
def test_everything_is_the_same_in_new_processes(records: list[VideoRecord]) -> None:
    def videos(**options: Any) -> list[Tensor]:
        return [b["video"] for b in DataLoader(_training(records), 4, collate_fn=collate_clips, **options)]

    spawned = videos(num_workers=2, multiprocessing_context="spawn")
    assert all(torch.equal(a, b) for a, b in zip(videos(), spawned, strict=True))


def test_only_broken_videos(records: list[VideoRecord]) -> None:
    item = _training([records[1], records[4]])[0]
    assert item["video"] is None
    assert (item["label"], item["index"]) == (1, 0)
    assert {index for index, _ in item["broken"]} == {0, 1}
    assert len(item["broken"]) == 1 + dataset_module.MAX_REPLACEMENTS


def test_a_file_that_vanishes_is_replaced(records: list[VideoRecord]) -> None:
    dataset = _training(records)
    before = dataset[0]
    records[0].path.unlink()
    item = dataset[0]
    assert item["index"] in (2, 3, 5)
    assert item["broken"][0] == (0, f"{records[0].path}: no such file or folder [listed in train.txt:1]")
    assert before["broken"] == []


def test_no_video_is_replaced_in_testing(records: list[VideoRecord]) -> None:
    loader = DataLoader(_testing(records), batch_size=2, collate_fn=collate_clips)
    batches = list(loader)
    assert [batch["index"].tolist() for batch in batches] == [[0], [2, 3], [5]]
    assert [batch["label"].tolist() for batch in batches] == [[0], [2, 3], [5]]
    assert [[index for index, _ in batch["broken"]] for batch in batches] == [[1], [], [4]]
    lost = _testing(records)[4]
    assert lost["video"] is None
    assert lost["label"] == lost["index"] == 4


def test_memory_errors_are_not_taken_for_broken_files(
    records: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(read_sampled, "open_record", fail)
    for dataset in (_training(records), _testing(records)):
        with pytest.raises(MemoryError):
            dataset[0]


def test_frames_too_long_and_thin_are_refused(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    record = VideoRecord(make_video(tmp_path / "thin.avi", size=(16, 528), num_frames=2), 0, "list:1")
    assert _testing([record])[0]["broken"][0][1].endswith("frames of 528x16 are too long and thin [listed in list:1]")


class _Shrinking:
    """A reader whose file turns out to have fewer frames at each read."""

    height, width, note, path = 20, 30, "", Path("0.mp4")

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def __enter__(self) -> "_Shrinking":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def num_frames(self) -> int:
        return self.counts[0]

    def read(self, indices: np.ndarray) -> Tensor:
        if len(self.counts) > 1:
            del self.counts[0]
        if max(indices) >= self.num_frames:
            raise IndexError("too few")
        return torch.as_tensor(indices).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 20, 30)


@pytest.mark.parametrize("counts", [[40, 30], [30, 40], [200, 30], [200, 3, 30]])
def test_damaged_videos_are_sampled_again_with_the_same_seed(
    counts: list[int], monkeypatch: pytest.MonkeyPatch, records: list[VideoRecord]
) -> None:
    def numbers(dataset: VideoDataset, counts: list[int]) -> list[int]:
        monkeypatch.setattr(read_sampled, "open_record", lambda *_: _Shrinking(list(counts)))
        return dataset[0]["video"].flatten()[:: 20 * 30].unique().tolist()

    plain = create_transform((3, 20, 30), normalize=False, crop_pct=1.0)
    test = VideoDataset(records, plain, num_frames=4)
    assert numbers(test, counts) == sample_clips(counts[-1], num_frames=4)[0].tolist()
    train = VideoDataset(records, lambda clip, label: (clip, label), num_frames=4, is_training=True)
    assert numbers(train, counts) == numbers(train, counts[-1:])
    joint = JointDataset([test, VideoDataset(records, plain, num_frames=8)])
    monkeypatch.setattr(read_sampled, "open_record", lambda *_: _Shrinking(list(counts)))
    eight = joint[0]["video"][1][0, 0, :, 0, 0].tolist()
    assert eight == sample_clips(counts[-1], num_frames=8)[0].tolist()


def test_a_number_of_frames_that_never_settles(monkeypatch: pytest.MonkeyPatch, records: list[VideoRecord]) -> None:
    monkeypatch.setattr(read_sampled, "open_record", lambda *_: _Shrinking(list(range(99, 40, -1))))
    item = _testing(records)[0]
    assert item["video"] is None
    assert "its number of frames changes each time it is read [listed in train.txt:1]" in item["broken"][0][1]


def test_large_frames_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch, records: list[VideoRecord]) -> None:
    dataset = _testing(records, num_clips=5, sampling="dense", num_crops=3)
    whole = dataset[5]["video"]
    assert whole.shape == (15, 3, 4, 32, 32)
    monkeypatch.setattr(views_module, "PIECE_BYTES", 3 * 48 * 64 * 3)
    assert torch.equal(dataset[5]["video"], whole)


@pytest.mark.parametrize("sampling", ["segment", "dense", "uniform"])
@pytest.mark.parametrize(("num_clips", "num_crops"), [(1, 1), (2, 3), (5, 10)])
def test_views_lie_clip_by_clip(
    sampling: str, num_clips: int, num_crops: int, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    record = VideoRecord(make_video(tmp_path / "a.mp4", num_frames=9), 0, "")
    options: dict[str, Any] = {"num_frames": 6, "sampling": sampling, "num_clips": num_clips, "frame_stride": 2}
    video = _testing([record], num_crops=num_crops, **options)[0]["video"]
    transform = create_transform((3, 32, 32), normalize=False, num_crops=num_crops)
    clips = sample_clips(9, **options)
    assert torch.equal(video, torch.cat([transform(read_frames(record.path, clip)) for clip in clips]))


def test_several_models_read_a_file_once(records: list[VideoRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = read_sampled.open_record
    monkeypatch.setattr(read_sampled, "open_record", lambda r: opened.append(r) or real(r))
    alone = [_testing(records), _testing(records, size=48, num_frames=8, num_clips=2, num_crops=3)]
    wanted = [[dataset[n]["video"] for dataset in alone] for n in (0, 2)]
    opened.clear()
    joint = JointDataset(alone)
    assert len(joint) == 6
    for n, videos in zip((0, 2), wanted, strict=True):
        item = joint[n]
        assert [video.shape[0] for video in item["video"]] == [1, 6]
        assert all(torch.equal(a, b) for a, b in zip(item["video"], videos, strict=True))
        assert (item["label"], item["index"], item["broken"]) == (n, n, [])
    assert opened == [records[0], records[2]]
    assert joint[4]["video"] is None
    assert joint[4]["broken"][0][0] == 4
    batch = collate_clips([joint[0], joint[1], joint[2]])
    assert [tuple(video.shape) for video in batch["video"]] == [(2, 1, 3, 4, 32, 32), (2, 6, 3, 8, 48, 48)]
    assert [index for index, _ in batch["broken"]] == [1]


def test_joint_data_set_refuses(records: list[VideoRecord]) -> None:
    test = _testing(records)
    for datasets, message in [
        ([], "no data sets"),
        ([test, _training(records)], "is for training"),
        ([test, _testing(records[1:])], "the same records"),
        ([_testing(records, on_broken="replace")], "replaces nothing"),
    ]:
        with pytest.raises(ValueError, match=message):
            JointDataset(datasets)
    with pytest.raises(VideoError, match=r"listed in train\.txt:2"):
        JointDataset([_testing(records, on_broken="raise")])[1]
    with pytest.raises(ValueError, match="one of raise, replace, report"):
        _testing(records, on_broken="skip")


def test_damaged_clips_among_real_ones(shared_data: Path, tmp_path: Path) -> None:
    """Every twentieth file is torn, overwritten or gone: all batches are full, and all of these are named."""
    sound = load_source(shared_data / "order4" / "val.txt").records[:40]
    damaged = []
    for n, place in enumerate((7, 29)):
        content = sound[place].path.read_bytes()
        path = tmp_path / f"{n}.mp4"
        path.write_bytes(content[: len(content) // 3] if n else b"\0" * 400 + content[400:])
        damaged.append(replace(sound[place], path=path))
    gone = replace(sound[17], path=tmp_path / "gone.mp4")
    records = list(sound)
    records[7], records[29], records[17] = *damaged, gone
    loader = DataLoader(_training(records), batch_size=8, num_workers=1, collate_fn=collate_clips)
    batches = list(loader)
    assert [tuple(batch["video"].shape) for batch in batches] == [(8, 3, 4, 32, 32)] * 5
    named = {index for batch in batches for index, _ in batch["broken"]}
    assert {7, 17} <= named <= {7, 17, 29}
    used = [index for batch in batches for index in batch["index"].tolist()]
    assert not named & set(used)
    report = DataLoader(_testing(records), batch_size=8, collate_fn=collate_clips)
    lost = {index for batch in report for index, _ in batch["broken"]}
    assert lost == named
