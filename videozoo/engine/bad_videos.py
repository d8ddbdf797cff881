"""Unreadable training videos.

Each is logged once, and too many end the run.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoo.engine.checkpoint import replace_file
from videozoo.engine.errors import TrainingError
from videozoo.text import csv_text

_log = logging.getLogger(__name__)
_FILE = "broken.csv"


class BrokenVideos:
    """Unreadable training videos of a run, known to all processes.

    Args:
        folder: the run folder, which gets broken.csv.
        num_videos: training videos. None where that is not known, and no cap then holds.
        max_frac: fraction of them that may be broken. One always may.
        names: what to call them, by index.
        found: index and problem of those that are known already.
    """

    def __init__(
        self,
        folder: Path,
        num_videos: int | None,
        max_frac: float,
        names: Sequence[str] | None = None,
        found: Iterable[Sequence[Any]] = (),
    ) -> None:
        self._path, self._num_videos, self._max_frac, self._names = folder / _FILE, num_videos, max_frac, names
        self._found: dict[int, str] = {int(index): str(problem) for index, problem in found}

    def rows(self) -> list[list[Any]]:
        """Index and problem of each video, in order of the index."""
        return [[index, self._found[index]] for index in sorted(self._found)]

    def new_failures(self, batch: Mapping[str, Any]) -> dict[int, str]:
        """Return the failures of a batch that are not known yet."""
        failures = {self._number(index): str(problem) for index, problem in batch.get("broken") or ()}
        return {index: problem for index, problem in failures.items() if index not in self._found}

    def add(self, new_failures: Iterable[Mapping[int, str]], is_main: bool) -> None:
        """Add the failures that the processes found.

        The first one logs and writes it.

        Raises:
            TrainingError: that is too many.
            CheckpointError: the disk refused.
        """
        new: dict[int, str] = {}
        for failures in new_failures:
            new.update({index: problem for index, problem in failures.items() if index not in self._found})
        new = {index: self._named(index, problem) for index, problem in new.items()}
        self._found.update(new)
        if is_main:
            for index, problem in new.items():
                _log.warning("broken training video %d, another one takes its place: %s", index, problem)
            self._write()
        if self._num_videos is not None and len(self._found) > max(1, self._max_frac * self._num_videos):
            raise TrainingError(
                f"fit: {len(self._found)} of {self._num_videos} training videos are broken, more than "
                f"max_bad_frac={self._max_frac:g} allows; {self._path} lists them, such as {self.examples()}. Mend "
                "them, take them out of the training set or raise max_bad_frac, then resume; the checkpoint is kept."
            )

    def examples(self, longest: int = 3) -> str:
        """Return the first few, in words."""
        return "; ".join(list(self._found.values())[:longest])

    def _number(self, index: Any) -> int:
        """Return a clip. Indices beyond the data set's size are further draws of the same videos."""
        return int(index) if self._num_videos is None else int(index) % self._num_videos

    def _named(self, index: int, problem: str) -> str:
        if self._names is None or not 0 <= index < len(self._names) or self._names[index] in problem:
            return problem
        return f"{self._names[index]}: {problem}"

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, csv_text([("index", "problem"), *self.rows()]))
