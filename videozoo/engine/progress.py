"""Progress of a run: finished epochs and the current epoch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from videozoo.engine.results import EpochRow
from videozoo.fit_config import FitConfig


@dataclass
class EpochState:
    """State of the current epoch, from which its row of summary.csv is made.

    Args:
        step: optimizer steps done.
        sums: of the loss, of the clips' weights in it, of the right answers, of the clips.
        seconds, data_seconds: time taken, and the part of it spent waiting for the loader.
    """

    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    seconds: float = 0.0
    data_seconds: float = 0.0

    @property
    def loss(self) -> float:
        return self.sums[0] / self.sums[1] if self.sums[1] else 0.0

    @property
    def top1(self) -> float:
        return self.sums[2] / self.sums[3]


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Args:
        history: a row per finished epoch.
        best: the content of results.json: the best epoch's evaluation, with its ``epoch``.
        best_confusion: counts (C, C) of the best epoch. None before the first, and in a multi-label run.
        current: the epoch under way.
        stopped_early: whether ``patience`` ended the run before its last epoch.
    """

    history: tuple[EpochRow, ...] = ()
    best: dict[str, Any] | None = None
    best_confusion: Tensor | None = None
    current: EpochState = field(default_factory=EpochState)
    stopped_early: bool = False

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    def add(self, row: EpochRow, results: dict[str, Any], confusion: Tensor | None, metric: str) -> "Progress":
        """Return the progress after one more epoch.

        Its evaluation becomes the best if the metric says so.
        """
        done = replace(self, history=(*self.history, row), current=EpochState())
        if self.best is None or _merit(results, metric) > _merit(self.best, metric):
            return replace(done, best=results, best_confusion=confusion)
        return done

    def best_epochs(self, epochs: Collection[int], count: int, metric: str) -> set[int]:
        """Return the ``count`` best ones of some finished epochs, by the same rule."""
        rows = [row for row in self.history if row.epoch in epochs]
        rows.sort(key=lambda row: (getattr(row, f"val_{metric}"), -row.val_loss), reverse=True)  # equal: earlier first
        return {row.epoch for row in rows[:count]}

    def is_over(self, config: FitConfig) -> bool:
        """Return whether all epochs are done, or ``patience`` epochs brought nothing better."""
        if self.epoch >= config.epochs or config.patience is None or self.best is None:
            return self.epoch >= config.epochs
        return self.epoch - int(self.best["epoch"]) >= config.patience


def _merit(results: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Return the metric, then the lower loss. An equal epoch does not replace an earlier one."""
    return results[metric], -results["loss"]
