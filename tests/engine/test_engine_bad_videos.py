"""Broken training videos: named once, counted once, capped."""

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import TinyClips, run
from helpers import shared_folder
from torch.utils.data import DataLoader, default_collate

from videozoo.data import VideoDataset, VideoRecord, collate_clips, create_transform
from videozoo.engine import TrainingError, load_train_state


class SomeBroken(TinyClips):
    """Videos ``broken`` cannot be read: the next one takes their place, and the item says so."""

    def __init__(self, num_videos: int, broken: set[int]) -> None:
        super().__init__(num_videos)
        self.bad = broken

    def __getitem__(self, index: int) -> dict[str, Any]:
        told = []
        while index in self.bad:
            told.append((index, f"clips/{index}.mp4: no frames"))
            index = (index + 1) % self.num_videos
        return {**super().__getitem__(index), "broken": told}


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    broken = [told for item in items for told in item.pop("broken")]
    return {**default_collate(items), "broken": broken}


def loader(num_videos: int, broken: set[int], **kwargs: Any) -> DataLoader:
    return DataLoader(SomeBroken(num_videos, broken), batch_size=4, shuffle=True, collate_fn=collate, **kwargs)


def test_each_is_named_once_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="videozoo.engine"):
        run(tmp_path / "run", train=loader(24, {3, 4, 11}), epochs=3, max_bad_frac=0.125)
    for index in (3, 4, 11):
        assert caplog.text.count(f"broken training video {index}, ") == 1
    with (tmp_path / "run/broken.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"index": str(i), "problem": f"clips/{i}.mp4: no frames"} for i in (3, 4, 11)]
    assert [row[0] for row in load_train_state(tmp_path / "run/last")["broken"]] == [3, 4, 11]


def test_too_many_stop_and_more_may_be_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """3 of 24 is the cap's very edge; the default of 1 % would allow none of 24, but one is always allowed."""
    with pytest.raises(TrainingError, match=r"[23] of 24 .* broken, more than max_bad_frac=0.12 .*mp4"):
        run(tmp_path / "run", train=loader(24, {3, 4, 11}), max_bad_frac=0.12, checkpoint_minutes=0)
    with pytest.raises(TrainingError, match=r"2 of 24 .* max_bad_frac=0.01"):
        run(tmp_path / "other", train=loader(24, {3, 4}))
    assert len(run(tmp_path / "one", train=loader(24, {3}), epochs=1, max_bad_frac=0.0).history) == 1
    with caplog.at_level(logging.WARNING, logger="videozoo.engine"):
        caplog.clear()
        result = run(tmp_path / "run", train=loader(24, {3, 4, 11}), max_bad_frac=0.125, resume=True)
    assert len(result.history) == 2
    whole = run(tmp_path / "whole", train=loader(24, {3, 4, 11}), max_bad_frac=0.125)
    assert [row.train_loss for row in whole.history] == [row.train_loss for row in result.history]


def test_names_and_further_draws_of_one_video(tmp_path: Path) -> None:
    """Index 12 + 5 is another draw of video 5 of 12."""
    clips = [TinyClips()[index] for index in range(4)]
    batch = {**default_collate(clips), "broken": [(5, "no frames"), (17, "no frames")]}
    train = DataLoader([batch] * 12, batch_size=None)
    run(tmp_path / "run", train=train, epochs=1, max_bad_frac=0.1, train_names=[f"v{i}.mp4" for i in range(12)])
    assert (tmp_path / "run/broken.csv").read_text().splitlines() == ["index,problem", "5,v5.mp4: no frames"]


def test_a_batch_without_any_video_ends_the_run(tmp_path: Path) -> None:
    nothing = {"video": None, "label": torch.zeros(0), "index": torch.zeros(0), "broken": [(2, "gone.mp4: absent")]}
    good = default_collate([TinyClips()[index] for index in range(4)])
    with pytest.raises(TrainingError, match=r"no video of a batch could be read.*gone.mp4: absent"):
        run(tmp_path / "run", train=[good, nothing])
    assert load_train_state(tmp_path / "run/last")["current"]["step"] == 0


@pytest.mark.slow
@pytest.mark.skipif(shared_folder("data") is None, reason="needs the shared videos")
@pytest.mark.parametrize("workers", [0, 2])
def test_real_files_corrupt_and_vanishing(tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    """5 % of the files cut short from the start, and two that are gone after the first epoch."""
    source = sorted((shared_folder("data") / "order4/videos").glob("*/*.mp4"))[::3][:40]  # type: ignore[operator]
    files = [tmp_path / f"{number}.mp4" for number in range(len(source))]
    for number, (path, file) in enumerate(zip(source, files, strict=True)):
        content = path.read_bytes()
        file.write_bytes(content[: len(content) // 2] if number in (7, 20) else content)
    records = [VideoRecord(file, number % 3, "list.txt", file.name) for number, file in enumerate(files)]
    transform = create_transform((3, 16, 16), is_training=True, normalize=False)
    clips = VideoDataset(records, transform, num_frames=4, is_training=True, on_broken="replace")
    train = DataLoader(clips, batch_size=8, shuffle=True, collate_fn=collate_clips, num_workers=workers)

    def vanish(row: Any) -> None:
        for number in (3, 30):
            files[number].unlink(missing_ok=True)

    settings = {"train": train, "epochs": 2, "train_batch": lambda video, label: (video.float() / 255, label)}
    with caplog.at_level(logging.WARNING, logger="videozoo.engine"):
        result = run(tmp_path / "run", max_bad_frac=0.1, on_epoch=vanish, **settings)
    with (tmp_path / "run/broken.csv").open(newline="") as file:
        rows = {int(row["index"]): row["problem"] for row in csv.DictReader(file)}
    assert sorted(rows) == [3, 7, 20, 30]
    assert all(f"{number}.mp4" in problem and "list.txt" in problem for number, problem in rows.items())
    assert all(caplog.text.count(f"broken training video {number}, ") == 1 for number in rows)
    assert len(result.history) == 2
    with pytest.raises(TrainingError, match=r"[34] of 40 training videos are broken, more than max_bad_frac=0.05"):
        run(tmp_path / "strict", max_bad_frac=0.05, **settings)
