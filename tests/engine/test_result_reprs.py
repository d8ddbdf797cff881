"""Tests of the one-line reprs of results."""

from pathlib import Path

import numpy as np
import torch

from videozoo.engine import EpochRow, EvalResult, FitResult
from videozoo.jobs.prediction import Prediction


def test_fit_result_repr_has_metric_epoch_and_folder() -> None:
    row = EpochRow(1, 0.1, 1.0, 0.5, 1.0, 0.5, 0.5, 0.5, seconds=1.0, data_seconds=0.0)
    result = FitResult(Path("runs/mine"), 2, {"top1": 0.75}, (row, row, row))
    assert repr(result) == "FitResult(top-1 75.0%, best epoch 2 of 3, 'runs/mine')"
    assert "mAP 50.0%" in repr(FitResult(Path("runs/mine"), 1, {"map": 0.5}, ()))
    assert "top-1 unknown" in repr(FitResult(Path("runs/mine"), 1, {"top1": None}, ()))


def test_eval_result_repr_has_metric_and_counts() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    options = {"indices": torch.arange(2), "class_names": ("a", "b")}
    result = EvalResult(logits.log_softmax(1), logits, torch.tensor([0, 1]), **options, unread=((2, "broken"),))
    assert repr(result) == "EvalResult(top-1 50.0%, 2 videos, 2 classes, 1 unread)"
    unlabeled = EvalResult(logits.log_softmax(1), logits, torch.tensor([-1, -1]), **options)
    assert "top-1 unknown" in repr(unlabeled)


def test_prediction_repr_has_best_class_or_error() -> None:
    scores = np.array([0.25, 0.75], dtype=np.float32)
    assert repr(Prediction("a.mp4", scores, class_names=("x", "y"))) == "Prediction('a.mp4': y 0.750)"
    assert repr(Prediction("a.mp4", None, "no such file")) == "Prediction('a.mp4': no such file)"
