"""Pictures of a run: the first clips once, the errors of the best epoch, and a run that goes on without them."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import videozoo
from videozoo.data import ClipNormalizer, TrainBatch, VideoRecord
from videozoo.data.motions import write_motions
from videozoo.engine import EpochRow, EvalResult
from videozoo.training.pictures import ERRORS, TRAIN_CLIPS, RunPictures

NAMES = ("rising", "falling")
CLIPS, LABELS = torch.zeros(3, 3, 4, 16, 16, dtype=torch.uint8), torch.tensor([0, 1, 0])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motions(tmp_path_factory.mktemp("motions"), clips_per_class=1, val_clips_per_class=1, size=32)


def pictures_of(folder: Path, root: Path, **options: Any) -> RunPictures:
    model = videozoo.create_model("test_dnr_tsn", num_classes=2)
    val = [VideoRecord(root / "val" / name / "scene_000.mp4", label, "here") for label, name in enumerate(NAMES)]
    batch = TrainBatch(ClipNormalizer((0.5,) * 3, (0.5,) * 3))
    return RunPictures(folder, model, batch, class_names=NAMES, val=val, **options)


def result_of(score: float) -> EvalResult:
    log = torch.tensor([[score, 1 - score], [0.1, 0.9]]).log()
    return EvalResult(log, log, torch.tensor([0, 1]), torch.tensor([0, 1]), NAMES)


ROW = EpochRow(1, 0.1, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.1)


def test_the_first_batch_alone_is_drawn(tmp_path: Path, root: Path) -> None:
    pictures = pictures_of(tmp_path, root)
    state = torch.get_rng_state()
    video, target = pictures.train_batch(CLIPS, LABELS)
    assert torch.equal(video, torch.full(CLIPS.shape, -1.0))
    assert torch.equal(target, LABELS)
    assert torch.equal(torch.get_rng_state(), state)
    path = tmp_path / TRAIN_CLIPS
    assert path.exists()
    path.unlink()
    pictures.train_batch(CLIPS, LABELS)
    assert not path.exists()


@pytest.mark.parametrize(("is_continued", "is_kept"), [(True, True), (False, False)])
def test_a_continued_run_keeps_the_picture_of_its_beginning(
    is_continued: bool, is_kept: bool, tmp_path: Path, root: Path
) -> None:
    (tmp_path / TRAIN_CLIPS).write_text("earlier")
    pictures_of(tmp_path, root, is_continued=is_continued).train_batch(CLIPS, LABELS)
    assert ((tmp_path / TRAIN_CLIPS).read_bytes() == b"earlier") == is_kept


def test_the_errors_are_those_of_the_best_epoch(tmp_path: Path, root: Path) -> None:
    pictures = pictures_of(tmp_path, root)
    path = tmp_path / ERRORS
    pictures.on_result(ROW, result_of(0.1), True)
    assert path.exists(), "the first is drawn at once"
    path.unlink()
    pictures.on_result(ROW, result_of(0.2), True)
    pictures.on_result(ROW, result_of(0.3), False)
    assert not path.exists(), "the next ones wait"
    pictures.close()
    assert path.exists()
    path.unlink()
    pictures.close()
    assert not path.exists(), "nothing new"


def test_a_run_goes_on_without_a_picture_that_the_disk_refuses(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = pictures_of(tmp_path / "absent", root)
    with caplog.at_level(logging.WARNING):
        pictures.train_batch(CLIPS, LABELS)
        pictures.on_result(ROW, result_of(0.1), True)
    assert caplog.text.count("The run goes on without this picture.") == 2
