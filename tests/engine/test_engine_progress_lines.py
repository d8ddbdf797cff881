"""Progress: when a line is due, and the time that is left; a validation at chance."""

import logging
from pathlib import Path

import pytest
import torch
from engine_tiny import run

from videozoo.engine import progress_lines
from videozoo.engine.chance import describe_chance
from videozoo.engine.progress_lines import ProgressLines, describe_seconds
from videozoo.engine.results import EpochRow


def due_steps(seconds: float, interval: int = 50, num_steps: int = 1000) -> list[int]:
    now = [0.0]
    lines = ProgressLines(interval, lambda: now[0])
    lines.start_epoch()
    found = []
    for step in range(1, num_steps + 1):
        now[0] += seconds
        if lines.is_due(step, num_steps):
            found.append(step)
    return found


def test_fast_steps_have_a_line_an_interval() -> None:
    assert due_steps(0.01) == list(range(50, 1001, 50))
    assert due_steps(0.001, interval=300) == [300, 600, 900, 1000]


def test_slow_steps_have_a_line_soon_and_then_by_time() -> None:
    """After 5, 10, 20, 40 and then each 60 seconds, at the next step."""
    assert due_steps(2.0, interval=1000, num_steps=100) == [3, 8, 18, 38, 68, 98, 100]
    assert due_steps(30.0, num_steps=6) == [1, 2, 3, 5, 6]


def test_time_left() -> None:
    now = [0.0]
    lines = ProgressLines(50, lambda: now[0])
    lines.start_epoch()
    now[0] = 20.0  # workers start in the first step
    lines.is_due(1, 100)
    assert lines.describe_left(1, 100, 9, None) == ""
    now[0] = 22.0
    assert lines.describe_left(2, 100, 9, None) == "about 3 min left in the epoch, 33 min in all"
    assert lines.describe_left(2, 100, 9, 300.0) == "about 3 min left in the epoch, 48 min in all"
    assert lines.describe_left(2, 100, 0, None) == "about 3 min left in the epoch"
    assert lines.describe_left(100, 100, 9, None) == ""
    assert [describe_seconds(value) for value in (0.4, 99, 100, 5900, 7500)] == [
        "0 s", "99 s", "2 min", "98 min", "2 h 05 min"]  # fmt: skip


def test_the_log_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress_lines, "FIRST_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="videozoo"):
        run(tmp_path / "run")
    lines = [record.getMessage() for record in caplog.records if " step " in record.getMessage()]
    assert lines[0].startswith("epoch 1/2 step 1/3: loss ")
    assert "left in the epoch, " in lines[1]
    assert "left" not in lines[2]
    assert lines[-1].startswith("epoch 2/2 step 3/3: ")


def row(train_top1: float, val_mean_class: float) -> EpochRow:
    return EpochRow(1, 0.1, 1.0, train_top1, 1.0, 0.4, 1.0, val_mean_class, 1.0, 0.0)


EVEN = torch.full((4, 4), 4)  # 16 videos a class
UNEVEN = torch.diag(torch.tensor([12, 12, 52, 56]))


@pytest.mark.parametrize(
    ("rows", "counts", "is_said"),
    [
        ([row(0.75, 0.25)], EVEN, True),
        ([row(0.75, 0.25)], UNEVEN, True),
        ([row(0.75, 0.5)], EVEN, False),
        ([row(0.30, 0.25)], EVEN, False),
        ([row(0.45, 0.25)], UNEVEN, False),  # the share of the largest class is 0.42
        ([row(0.30, 0.25), row(0.75, 0.25)], EVEN, True),
        ([row(0.75, 0.25), row(0.80, 0.25)], EVEN, False),  # said already
        ([row(0.90, 0.50)], torch.tensor([[8, 8], [8, 8]]), True),
        ([row(0.90, 1.0)], torch.tensor([[8, 0], [0, 0]]), False),  # one class in the validation
    ],
)
def test_a_validation_at_chance(rows: list[EpochRow], counts: torch.Tensor, is_said: bool) -> None:
    assert bool(describe_chance(rows, counts)) is is_said


def test_the_line_about_chance() -> None:
    line = describe_chance([row(0.75, 0.25)], EVEN)
    assert line.startswith(
        "validation is at chance (mean-class 25.0%, chance is 25.0%) and training is not (top-1 75.0%)"
    )
    assert "running statistics of batch norm still lag" in line
