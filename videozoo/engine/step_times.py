"""Wall time and CPU time of training steps, from which other load on the processor is detected."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# The first steps load and tune what later ones use. The next ones are judged together, so many and so long at least.
FIRST_STEPS, STEPS, SECONDS = 3, 5, 10.0
# A step that has the processor to itself gets about one second of CPU time a second, and more with more threads.
MOST_SECONDS = 1.5  # for a second of CPU time


class StepTimes:
    """Timer of steps on the CPU, which reports once per run that they wait for the processor.

    Args:
        is_on: False where steps wait for other things: for a GPU, or for other processes.
        wall, cpu: clocks in seconds. The second counts the CPU time of all threads of this process.
    """

    def __init__(
        self,
        is_on: bool,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._is_on, self._wall, self._cpu = is_on, wall, cpu
        self._count, self._wall_seconds, self._cpu_seconds = -FIRST_STEPS, 0.0, 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure a step.

        Waiting for its videos is no part of it.
        """
        wall, cpu = self._wall(), self._cpu()
        yield
        self._count += 1
        if self._count > 0:
            self._wall_seconds += self._wall() - wall
            self._cpu_seconds += self._cpu() - cpu

    def describe_wait(self) -> str:
        """Return a line about steps that take much longer than their CPU time.

        Empty otherwise and after it was given.

        Each group of steps is judged by itself: other programs may start late.
        """
        if not self._is_on or self._count < STEPS or self._wall_seconds < SECONDS:
            return ""
        line = ""
        if self._wall_seconds > MOST_SECONDS * self._cpu_seconds:
            self._is_on = False
            line = (
                f"steps take {self._wall_seconds / self._count:.2g} s and get {self._cpu_seconds / self._count:.2g} s "
                f"of CPU time on {torch.get_num_threads()} threads: other programs are using the processor"
            )
        self._count, self._wall_seconds, self._cpu_seconds = 0, 0.0, 0.0
        return line
