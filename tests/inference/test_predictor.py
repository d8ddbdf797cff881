"""Predictor: the model's own answers, errors as answers, pickled by name, short memory, dying decoders."""

import logging
import multiprocessing
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import videozoo
from videozoo import Predictor
from videozoo.data import JointDataset, VideoDataset, VideoRecord, create_transform, load_source, resolve_data_config
from videozoo.jobs import clips as clips_module
from videozoo.jobs import process_pool

MODEL = "test_dnr_tsn.motions"


def test_scores_are_the_models_own_averaged_over_views(clips: list[Path]) -> None:
    predictor = Predictor(MODEL, device="cpu", views="2x3", batch_size=3, max_clips=4)
    answers = predictor(clips[:4])
    cfg = resolve_data_config(predictor.model, test_num_clips=2, test_num_crops=3)
    dataset = VideoDataset(
        [VideoRecord(path, -1, "") for path in clips[:4]],
        create_transform(**cfg),
        num_frames=cfg["num_frames"],
        sampling=cfg["frame_sampling"],
        num_clips=2,
    )
    for path, item, answer in zip(clips, dataset, answers, strict=False):
        with torch.inference_mode():
            expected = predictor.model(item["video"]).softmax(1).mean(0).numpy()
        assert item["video"].shape[0] == 6
        assert answer.path == str(path)
        assert answer.error is None
        assert answer.scores is not None
        assert answer.scores.dtype == np.float32
        np.testing.assert_allclose(answer.scores, expected, atol=1e-6)


def test_it_knows_the_generated_motions(tmp_path: Path) -> None:
    from videozoo.data.motions import write_motions

    source = load_source(write_motions(tmp_path / "m", clips_per_class=1, val_clips_per_class=1, size=48) / "val")
    predictor = Predictor("test_arc_tsm.motions", device="cpu")
    assert predictor.class_names == source.class_names
    best = [int(answer.scores.argmax()) for answer in predictor.stream(source.records) if answer.scores is not None]
    assert best == [record.label for record in source.records]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_are_answers_in_their_place(workers: int, clips: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    asked = [broken, tmp_path / "absent.mp4", clips[0], broken, clips[1]]
    answers = Predictor(MODEL, device="cpu", batch_size=2, workers=workers)(asked)
    assert [answer.path for answer in answers] == [str(path) for path in asked]
    assert [answer.scores is None for answer in answers] == [True, True, False, True, False]
    assert answers[1].error == "no such file or folder"
    assert "not a video" in (answers[0].error or "")
    assert [answer.error is None for answer in answers] == [False, False, True, False, True]


def test_what_the_reader_does_not_foresee_is_an_answer_too(
    clips: list[Path], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if self.records[index].path == clips[1]:
                raise ZeroDivisionError("no frames a second")
            return super().__getitem__(index)

    monkeypatch.setattr(clips_module, "JointDataset", Failing)
    assert [answer.error for answer in predictor(clips[:3])] == [
        None,
        "unexpected ZeroDivisionError, no frames a second",
        None,
    ]


def test_an_empty_list_gives_no_predictions(predictor: Predictor) -> None:
    assert predictor([]) == []


def test_it_is_pickled_as_its_name(clips: list[Path], predictor: Predictor) -> None:
    data = pickle.dumps(predictor)
    assert len(data) < 20_000
    again = pickle.loads(data)
    for one, other in zip(predictor(clips[:3]), again(clips[:3]), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_a_model_in_place_of_a_name_is_pickled_whole(clips: list[Path]) -> None:
    model = videozoo.create_model("test_dnr_tsn", num_classes=3, num_frames=2)
    predictor = Predictor(model, device="cpu")
    assert predictor.class_names == ("0", "1", "2")
    again = pickle.loads(pickle.dumps(predictor))
    np.testing.assert_array_equal(predictor(clips[:1])[0].scores, again(clips[:1])[0].scores)


class _Cramped(nn.Module):
    """Has memory for two clips."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.sizes = net, []
        self.pretrained_cfg, self.num_classes = net.pretrained_cfg, net.num_classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.net(x)


def test_short_memory_halves_what_goes_through_at_a_time(
    clips: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command of an earlier test may have turned it off.
    monkeypatch.setattr(logging.getLogger("videozoo"), "propagate", True)
    plain = Predictor(MODEL, device="cpu", batch_size=5)
    cramped = Predictor(_Cramped(plain.model), device="cpu", batch_size=5)
    for one, other in zip(plain(clips[:6]), cramped(clips[:6]), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert cramped.model.sizes == [5, 2, 2, 1, 1]
    assert "out of memory: from here on 2 views go through the model at a time" in caplog.text


def test_a_single_clip_that_does_not_fit_ends_it(clips: list[Path]) -> None:
    class Full(_Cramped):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    net = videozoo.create_model("test_dnr_tsn", num_classes=3, num_frames=2)
    with pytest.raises(torch.OutOfMemoryError):
        Predictor(Full(net), device="cpu")(clips[:3])


def test_scores_that_are_not_finite_are_an_error(clips: list[Path]) -> None:
    class Broken(_Cramped):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) * torch.nan

    net = videozoo.create_model("test_dnr_tsn", num_classes=3, num_frames=2)
    (answer,) = Predictor(Broken(net), device="cpu")(clips[:1])
    assert answer.scores is None
    assert answer.error == "the model's scores are not finite"


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers must be forks")
def test_a_file_that_kills_its_decoder_costs_itself_only(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    deadly = clips[4]

    class Deadly(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if self.records[index].path == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    monkeypatch.setattr(clips_module, "JointDataset", Deadly)
    answers = Predictor(MODEL, device="cpu", batch_size=2, workers=1)(clips[:9])
    assert [answer.path for answer in answers] == [str(path) for path in clips[:9]]
    errors = {answer.path: answer.error for answer in answers if answer.error}
    assert errors == {str(deadly): "the process that read it died (SIGKILL)"}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers must be forks")
def test_a_file_that_hangs_its_decoder_costs_itself_only(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    endless = clips[1]

    class Endless(JointDataset):
        def __getitem__(self, index: int) -> dict[str, Any]:
            while self.records[index].path == endless:
                pass
            return super().__getitem__(index)

    monkeypatch.setattr(clips_module, "JointDataset", Endless)
    monkeypatch.setattr(clips_module, "FILE_SECONDS", 0.5)
    answers = Predictor(MODEL, device="cpu", batch_size=2, workers=1)(clips[:3])
    assert [answer.error for answer in answers] == [None, "it took more than 0.5 s of processor time", None]


def test_decoding_processes_are_replaced_now_and_then(
    clips: list[Path], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    real = process_pool._Worker._start
    monkeypatch.setattr(process_pool._Worker, "_start", lambda self: (starts.append(self._num_items), real(self)))
    monkeypatch.setattr(process_pool, "RENEW_ITEMS", 2)
    answers = Predictor(MODEL, device="cpu", batch_size=2, workers=1)(clips[:9])
    assert starts == [0, 2, 2]
    for one, other in zip(predictor(clips[:9]), answers, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"amp": "int8"}, "amp is 'int8'; choose from no, bf16, fp16"),
        ({"device": "toaster"}, "device is 'toaster'"),
        ({"views": "10by3"}, "write clips x crops"),
    ],
)
def test_it_refuses(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Predictor(videozoo.create_model("test_dnr_tsn", num_classes=3), **options)


def test_bfloat16_is_near(clips: list[Path], predictor: Predictor) -> None:
    half = Predictor(predictor.model, device="cpu", amp="bf16")
    for one, other in zip(predictor(clips[:3]), half(clips[:3]), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=0.05)
