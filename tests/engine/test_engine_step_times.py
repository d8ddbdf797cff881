"""Steps that wait for the processor: said once in a run, by clocks that are not real."""

import logging
from pathlib import Path

import pytest
from engine_tiny import run

from videozoo.engine import step_times
from videozoo.engine.step_times import FIRST_STEPS, STEPS, StepTimes


class Clocks:
    """A step takes ``wall`` seconds and gets ``cpu`` seconds of the processor."""

    def __init__(self, wall: float, cpu: float, is_on: bool = True) -> None:
        self.step, self.now = (wall, cpu), (0.0, 0.0)
        self.times = StepTimes(is_on, lambda: self.now[0], lambda: self.now[1])

    def do_steps(self, count: int) -> list[str]:
        lines = []
        for _ in range(count):
            self.now = (self.now[0] + 9.0, self.now[1])  # the wait for videos is no part of a step
            with self.times.measure():
                self.now = (self.now[0] + self.step[0], self.now[1] + self.step[1])
            lines.append(self.times.describe_wait())
        return lines


def test_reported_once_after_some_steps() -> None:
    clocks = Clocks(wall=2.1, cpu=0.6)
    lines = clocks.do_steps(FIRST_STEPS + 3 * STEPS)
    assert lines[: FIRST_STEPS + STEPS - 1] == [""] * (FIRST_STEPS + STEPS - 1)
    assert lines[FIRST_STEPS + STEPS - 1].startswith("steps take 2.1 s and get 0.6 s of CPU time on ")
    assert lines[FIRST_STEPS + STEPS - 1].endswith(" threads: other programs are using the processor")
    assert lines[FIRST_STEPS + STEPS :] == [""] * (2 * STEPS)


@pytest.mark.parametrize(("wall", "cpu"), [(3.0, 2.9), (3.0, 5.9), (3.0, 2.1), (0.01, 0.001)])
def test_not_said_of_steps_that_get_the_processor(wall: float, cpu: float) -> None:
    """The last ones are too short to be judged."""
    assert set(Clocks(wall, cpu).do_steps(50)) == {""}


def test_not_said_where_steps_wait_for_a_gpu() -> None:
    assert set(Clocks(5.0, 0.1, is_on=False).do_steps(50)) == {""}


def test_said_of_programs_that_start_late() -> None:
    clocks = Clocks(wall=3.0, cpu=3.0)
    assert set(clocks.do_steps(100)) == {""}
    clocks.step = (3.0, 1.0)
    assert len([line for line in clocks.do_steps(3 * STEPS) if line]) == 1


def test_said_in_the_log_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    monkeypatch.setattr(step_times, "SECONDS", 0.0)
    monkeypatch.setattr(StepTimes.__init__, "__defaults__", (step_times.time.perf_counter, lambda: 0.0))
    with caplog.at_level(logging.INFO, logger="videozoo"):
        run(tmp_path / "run", epochs=6)
    assert caplog.text.count("other programs are using the processor") == 1
