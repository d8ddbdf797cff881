"""Rows of clips: labels of mixed clips, the worst errors first, pictures that stay readable with long names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from videozoo.data import ClipNormalizer, TrainBatch
from videozoo.engine import EvalResult
from videozoo.explain.mosaic import ClipRow, describe_target, find_errors, plot_clips, plot_errors

NAMES = ("arms up", "arms down", "bow")


def result_of(labels: list[int], scores: list[list[float]]) -> EvalResult:
    log = torch.tensor(scores).log()
    indices = torch.arange(len(labels)) + 10
    return EvalResult(log, log, torch.tensor(labels), indices, NAMES)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (torch.tensor(1), "arms down"),
        (torch.tensor([0.3, 0.0, 0.7]), "70% bow + 30% arms up"),
        (torch.tensor([0.0, 1.0, 0.0]), "arms down"),
        (torch.tensor([1, 1, 0]), "arms up, arms down"),
        (torch.tensor([0, 0, 0]), "no class"),
    ],
)
def test_targets_are_said(target: Tensor, text: str) -> None:
    assert describe_target(target, NAMES) == text


def test_the_shares_of_mixed_clips_are_those_before_smoothing() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    batch = TrainBatch(ClipNormalizer((0.5,) * 3, (0.5,) * 3), num_classes=3, mixup=1.0, smoothing=0.1)
    _, target = batch(torch.zeros(2, 3, 2, 8, 8, dtype=torch.uint8), torch.tensor([0, 2]))
    first, second = (describe_target(row, NAMES) for row in target)
    shares = sorted(int(text.split("%")[0]) for text in (first, second))
    assert {first, second} == {f"{shares[1]}% {a} + {100 - shares[1]}% {b}" for a, b in (NAMES[::2], NAMES[::-2])}


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pixels_come_back_from_what_the_model_takes(order: str) -> None:
    normalizer = ClipNormalizer((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), order)
    video = torch.randint(0, 256, (2, 3, 2, 5, 6), dtype=torch.uint8)
    assert torch.equal(normalizer.to_bytes(normalizer(video)), video)
    assert normalizer.to_bytes(torch.full((3, 1, 1, 1), 99.0)).unique().tolist() == [255]


def test_the_worst_errors_come_first() -> None:
    result = result_of(
        [0, 1, 2, -1, 1], [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [1, 1, 1], [0.6, 0.3, 0.1]]
    )
    assert find_errors(result) == ([2, 0, 4], 3)
    assert find_errors(result, most=1) == ([2], 3)


def test_of_several_true_classes_the_lowest_score_counts() -> None:
    scores = [[0.9, 0.2, 0.1], [0.2, 0.9, 0.1], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]]
    log = torch.tensor(scores).log()
    labels = torch.tensor([[0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1]])
    result = EvalResult(log, log, labels, torch.arange(4), NAMES)
    assert find_errors(result) == ([0, 1], 2)


def test_errors_are_drawn_and_removed_where_there_are_none(tmp_path: Path) -> None:
    path, asked = tmp_path / "errors.png", []

    def read(index: int) -> Tensor | None:
        asked.append(index)
        return None if index == 11 else torch.full((4, 12, 20, 3), 99, dtype=torch.uint8)

    wrong = result_of([0, 0, 0], [[0.9, 0.05, 0.05], [0.1, 0.5, 0.4], [0.2, 0.4, 0.4]])
    assert plot_errors(path, wrong, str, read, "validation")
    assert asked == [11, 12]
    assert path.exists()
    assert not plot_errors(path, result_of([0], [[0.9, 0.05, 0.05]]), str, read, "validation")
    assert not path.exists(), "an earlier picture would be of another epoch"


def test_long_and_foreign_names_and_few_frames_keep_the_frames_in_sight(tmp_path: Path) -> None:
    red = torch.zeros(2, 300, 200, 3, dtype=torch.uint8)
    red[..., 0] = 255
    rows = [ClipRow(["正在把某物从左推到右 " * 8, "x" * 300], red), ClipRow(["a"], red[:1])]
    plot_clips(tmp_path / "a.png", rows, "t" * 300 + "\n$a_b$")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    is_red = (pixels[..., 0] > 250) & (pixels[..., 1] < 5)
    assert is_red.sum() > 3 * 100 * 66
    assert not is_red[:, -2:].any(), "nothing is cut off"
    with pytest.raises(ValueError, match="no clips"):
        plot_clips(tmp_path / "a.png", [], "t")
