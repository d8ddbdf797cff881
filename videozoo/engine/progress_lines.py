"""Progress lines: when to log one, and the estimate of the remaining time."""

import time
from collections.abc import Callable

# Seconds to the first line, which says soon that all is well; each wait is twice the one before, up to the longest.
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 60.0


class ProgressLines:
    """Schedule of progress lines, with an estimate of the remaining time.

    Args:
        interval: steps between lines. There are more of them where that takes longer than ``LONGEST_SECONDS``.
        clock: seconds.
    """

    def __init__(self, interval: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._clock, self._wait = interval, clock, FIRST_SECONDS
        self._said_at = clock()
        self._first: tuple[int, float] | None = None  # step and time from which steps are counted

    def start_epoch(self) -> None:
        """Reset the speed measured in the previous epoch."""
        self._first, self._said_at = None, self._clock()

    def is_due(self, step: int, num_steps: int) -> bool:
        """Return whether there should be a line after ``step`` of an epoch's ``num_steps``.

        Call it after every one.
        """
        now = self._clock()
        if self._first is None:  # the first step also starts workers and tunes kernels
            self._first = step, now
        is_late = now - self._said_at >= self._wait
        if not is_late and step % self._interval and step < num_steps:
            return False
        if is_late:
            self._wait = min(2 * self._wait, LONGEST_SECONDS)
        self._said_at = now
        return True

    def describe_left(self, step: int, num_steps: int, epochs_left: int, epoch_seconds: float | None) -> str:
        """Return the time left in the epoch and in the run, empty if no speed is known yet.

        Args:
            epochs_left: after this one.
            epoch_seconds: what the epoch before took with its evaluation. Without one the steps' time is taken.
        """
        if self._first is None or step <= self._first[0]:
            return ""
        per_step = (self._clock() - self._first[1]) / (step - self._first[0])
        left = per_step * (num_steps - step)
        per_epoch = per_step * num_steps if epoch_seconds is None else epoch_seconds
        parts = [f"about {describe_seconds(left)} left in the epoch"] if step < num_steps else []
        parts += [f"{describe_seconds(left + per_epoch * epochs_left)} in all"] if parts and epochs_left else []
        return ", ".join(parts)


def describe_seconds(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
