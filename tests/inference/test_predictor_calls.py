"""Predictor: one path or several, answers that are easy to read, a caller's model left as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videozoo
from videozoo import Prediction, Predictor
from videozoo.data import VideoRecord

MODEL = "test_dnr_tsn.motions"


def test_one_path_is_one_answer(clips: list[Path], predictor: Predictor) -> None:
    several = predictor(clips[:2])
    for one in (str(clips[0]), clips[0], VideoRecord(clips[0], -1, "")):
        answer = predictor(one)
        assert isinstance(answer, Prediction)
        assert answer.path == str(clips[0])
        np.testing.assert_allclose(answer.scores, several[0].scores, atol=1e-6)
    assert [answer.path for answer in predictor(str(path) for path in clips[:2])] == [str(path) for path in clips[:2]]
    absent = predictor("absent.mp4")
    assert (absent.ok, absent.label, absent.score, absent.topk(3)) == (False, None, None, [])
    assert absent.error == "no such file or folder"


def test_a_prediction_has_its_best_classes(clips: list[Path], predictor: Predictor) -> None:
    answer = predictor(clips[0])
    assert answer.ok
    assert answer.scores is not None
    best = int(answer.scores.argmax())
    assert answer.label == predictor.class_names[best]
    assert answer.score == pytest.approx(float(answer.scores.max()))
    top = answer.topk(3)
    assert [c.score for c in top] == sorted((c.score for c in top), reverse=True)
    assert top[0] == (answer.label, answer.score, best)
    assert len(answer.topk(1000)) == len(predictor.class_names)
    assert sum(c.score for c in answer.topk(1000)) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="k is 0"):
        answer.topk(0)


def _state(model: Any) -> tuple[Any, ...]:
    return (
        [module.training for module in model.modules()],
        [(p.device, p.dtype, p.requires_grad, id(p)) for p in model.parameters()],
        {key: value.clone() for key, value in model.state_dict().items()},
        (model.num_frames, model.num_classes, dict(model.pretrained_cfg)),
    )


@pytest.mark.parametrize("name", ["test_dnr_tsn", "test_arc_tsm"])
def test_a_callers_model_is_left_as_it_was(name: str, clips: list[Path]) -> None:
    model: Any = videozoo.create_model(name, num_classes=3)
    model.train()
    model.backbone.layer1.eval()
    model.fc.weight.requires_grad_(False)
    before = _state(model)
    predictor = Predictor(model, device="cpu", views="2x1")
    first = predictor(clips[0])
    predictor.model.pretrained_cfg["label_names"] = ("x", "y", "z")
    after = _state(model)
    assert before[0] == after[0]
    assert before[1] == after[1]
    assert all(torch.equal(before[2][key], after[2][key]) for key in before[2])
    assert before[3] == after[3]
    model.train()  # nor does what the caller does with it afterwards change how the predictor computes
    model.set_num_frames(4)
    np.testing.assert_allclose(predictor(clips[0]).scores, first.scores, atol=1e-6)
    shared = dict(predictor.model.named_parameters())
    assert all(shared[key] is value for key, value in model.named_parameters()), "no memory is copied"


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", "xpu:7", "cpu:3", "privateuseone"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=rf"device is '{device}'.*here there is cpu"):
        Predictor(MODEL, device=device)


def test_devices_that_are_here(clips: list[Path]) -> None:
    for device in ("cpu", "cpu:0", "auto"):
        assert Predictor(MODEL, device=device)(clips[0]).ok
