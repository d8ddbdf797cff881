"""Batches of clips: the same from workers, in this process and by way of pinned memory; workers end with the reader."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from videozoo.data import VideoRecord, resolve_data_config
from videozoo.jobs import clips as clips_module
from videozoo.jobs.clips import ClipBatch, iterate_batches

CONFIGS = [
    resolve_data_config({"input_size": (3, 32, 32), "num_frames": 2}),
    resolve_data_config({"input_size": (3, 24, 24), "num_frames": 4, "test_num_crops": 3}),
]


def read(clips: list[Path], **options: Any) -> list[ClipBatch]:
    records = [VideoRecord(path, -1, "list.txt:1") for path in [*clips[:4], clips[0].with_name("absent.mp4")]]
    given: dict[str, Any] = {"start": 0, "batch_size": 2, "workers": 0, "pin_memory": False, **options}
    return list(iterate_batches(records, CONFIGS, **given))


def assert_same(ours: list[ClipBatch], theirs: list[ClipBatch]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.paths, one.read, one.notes) == (other.paths, other.read, other.notes)
        assert {place: str(error) for place, error in one.errors.items()} == {
            place: str(error) for place, error in other.errors.items()
        }
        assert all(torch.equal(a, b) for a, b in zip(one.videos, other.videos, strict=True))


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3}, {"pin_memory": True}])
def test_however_they_are_read(options: dict[str, Any], clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # which needs a GPU
    plain = read(clips)
    assert [batch.read for batch in plain] == [[0, 1], [0, 1], []]
    assert [tuple(video.shape) for video in plain[0].videos] == [(2, 1, 3, 2, 32, 32), (2, 3, 3, 4, 24, 24)]
    assert plain[2].errors[0].reason == "no such file or folder"
    assert_same(read(clips, **options), plain)
    assert_same(read(clips, **options, start=2), plain[1:])
    backwards = read(clips, **options, is_reversed=True)
    assert all(torch.equal(a.flip(3), b) for a, b in zip(plain[0].videos, backwards[0].videos, strict=True))


@pytest.mark.parametrize("pin_memory", [False, True])
def test_workers_end_with_the_one_who_wants_no_more(
    pin_memory: bool, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    records = [VideoRecord(path, -1, "") for path in clips]
    batches = iterate_batches(records, CONFIGS, start=0, batch_size=1, workers=2, pin_memory=pin_memory)
    assert len(next(batches).read) == 1
    assert multiprocessing.active_children()
    batches.close()
    assert not multiprocessing.active_children()


def test_an_error_of_the_reader_itself_is_raised(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)

    def refuse(*_: Any) -> None:
        raise RuntimeError("no memory to collate")

    monkeypatch.setattr(clips_module, "_collate", refuse)
    for pin_memory in (False, True):
        with pytest.raises(RuntimeError, match="no memory to collate"):
            read(clips, pin_memory=pin_memory)
