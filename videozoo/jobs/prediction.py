"""Prediction for one video, and the protocols of predictors and extractors in a job over a list."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from videozoo.data import VideoRecord
from videozoo.ranges import check_count


def best_classes(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the numbers of the ``k`` best classes, best first, (..., C) -> int64 (..., k).

    Of equal scores, the class with the lower number comes first.
    """
    return np.argsort(-scores, axis=-1, kind="stable")[..., :k]


class Candidate(NamedTuple):
    """A class with its score: its name, the score, and its number."""

    label: str
    score: float
    class_index: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction for one video: the score of every class, or the reason why there is none.

    Args:
        path: the file or folder, as given.
        scores: float32 (C,), softmax per view, averaged over the views. For a multi-label model the sigmoid of each
            class, which do not add up to 1. None if the video could not be read.
        error: why it could not be read. None if it could.
        class_names: name of each class.
        note: oddities of a video that could be read, such as damage or a single frame. None if there are none.
    Example:
        >>> from videozoo import Predictor
        >>> answer = Predictor("test_arc_tsm.motions", device="cpu")("clip.mp4")
        >>> answer.ok, answer.scores.shape, answer.topk(2)[0].label
        (True, (6,), 'moving_apart')
    """

    path: str
    scores: np.ndarray | None
    error: str | None = None
    class_names: Sequence[str] = field(default=(), repr=False)
    note: str | None = None

    def __repr__(self) -> str:
        return f"Prediction({self.path!r}: {f'{self.label} {self.score:.3f}' if self.ok else self.error})"

    @property
    def ok(self) -> bool:
        """True if the video could be read."""
        return self.scores is not None

    @property
    def label(self) -> str | None:
        """Name of the best class, or None if the video could not be read."""
        return self.topk(1)[0].label if self.ok else None

    @property
    def score(self) -> float | None:
        """Score of the best class, in [0, 1], or None if the video could not be read."""
        return self.topk(1)[0].score if self.ok else None

    def topk(self, k: int = 5) -> list[Candidate]:
        """Return the best classes, best first, and none if the video could not be read.

        Args:
            k: number of classes, at least 1.
        Raises:
            ValueError: ``k`` is below 1.
        """
        check_count("topk: k", k)
        if self.scores is None:
            return []
        order = best_classes(self.scores, k).tolist()
        names = self.class_names or [str(index) for index in range(len(self.scores))]
        return [Candidate(names[index], float(self.scores[index]), index) for index in order]


class AnswersVideos(Protocol):
    """Protocol of a `Predictor` in a job: predictions in the list's order, and a description of its settings."""

    source: Any
    model: nn.Module
    config: dict[str, Any]
    amp: str

    @property
    def class_names(self) -> Sequence[str]:
        """Name of each class."""
        ...

    def stream_batches(self, records: Sequence[VideoRecord], start: int = 0) -> Generator[list[Prediction]]:
        """Yield the predictions of the videos from ``start`` on, in batches."""
        ...


class GivesFeatures(AnswersVideos, Protocol):
    """Protocol of an `Extractor` in a job."""

    layer: str | None
    level: Any

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of a video's features."""
        ...
