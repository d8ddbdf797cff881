"""Counts, the 95 % interval, chance, the worst classes and confusions of an evaluation."""

import math

import pytest
import torch

from videozoo.engine import EvalResult, result_dict
from videozoo.engine.metrics import Confusion, wilson_interval, worst_classes, worst_confusions


def _result(labels: list[int], best: list[int], num_classes: int = 3) -> EvalResult:
    logits = torch.nn.functional.one_hot(torch.tensor(best), num_classes).float()
    names = tuple("abcdef"[:num_classes])
    return EvalResult(logits.log_softmax(1), logits, torch.tensor(labels), torch.arange(len(labels)), names)


# From Newcombe (1998), table I, method 3.
@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(hits, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - hits, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_ratio_is_never_outside_of_its_interval() -> None:
    for total in range(1, 300):
        assert wilson_interval(0, total)[0] == 0
        assert wilson_interval(total, total)[1] == 1


def test_no_video_has_no_interval() -> None:
    assert all(map(math.isnan, wilson_interval(0, 0)))
    found = result_dict(_result([-1, -1], [0, 1]))
    assert (found["top1_interval"], found["largest_class"], found["num_correct"]) == ([None, None], None, 0)


def test_results_have_counts_and_an_interval() -> None:
    found = result_dict(_result([0, 0, 0, 1, 2, -1], [0, 1, 1, 1, 0, 2]))
    assert (found["num_correct"], found["num_labelled"]) == (2, 5)
    assert found["top1_interval"] == pytest.approx(wilson_interval(2, 5))
    assert (found["chance"], found["largest_class"]) == (pytest.approx(1 / 3), 0.6)
    assert found["confusions"] == [
        {"label": "c", "prediction": "a", "num_videos": 1, "of": 1},
        {"label": "a", "prediction": "b", "num_videos": 2, "of": 3},
    ]


def test_the_worst_come_first_and_what_is_right_is_left_out() -> None:
    confusion = torch.tensor([[1, 2, 0], [0, 4, 0], [1, 0, 1]])
    assert worst_classes(confusion) == [(0, 1, 3), (2, 1, 2)]
    assert worst_classes(confusion, 1) == [(0, 1, 3)]
    assert worst_confusions(confusion) == [Confusion(0, 1, 2, 3), Confusion(2, 0, 1, 2)]
    assert worst_confusions(torch.eye(3, dtype=torch.int64)) == []
