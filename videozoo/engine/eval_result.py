"""What an evaluation found, and the accuracies that follow from it."""

import math
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn import functional

from videozoo.choices import AVERAGES
from videozoo.engine.metrics import (
    average_precisions,
    confusion_matrix,
    mean_average_precision,
    mean_class_accuracy,
    topk_accuracy,
    wilson_interval,
)
from videozoo.probabilities import log_probabilities


@dataclass(frozen=True)
class EvalResult:
    """What the network said of every video that could be read, in the order of ``indices``, and what follows from it.

    Both averages over the views are kept, so that the other one can be had without the videos.

    Args:
        log_probs: float32 (N, C) on the CPU: logarithm of the mean over the views of the softmax, in a multi-label
            evaluation of the sigmoid.
        logits: float32 (N, C): mean over the views of the network's outputs.
        labels: int64 (N,), -1 where unlabelled; in a multi-label evaluation (N, C) of zeros and ones.
        indices: int64 (N,), rising: each video's place in its data set.
        class_names: C names.
        num_views: views of one video that were averaged, of all members together where several networks vote.
        average: which of the two the ``scores`` are: ``prob`` or ``logit`` (the softmax, or sigmoid, of the mean).
        unread: (place, problem) of each video that could not be read; nothing stands in its place.
        seconds, data_seconds: time taken, and the part of it spent waiting for the loader.
    """

    log_probs: Tensor
    logits: Tensor
    labels: Tensor
    indices: Tensor
    class_names: tuple[str, ...]
    num_views: int = 1
    average: str = "prob"
    unread: tuple[tuple[int, str], ...] = ()
    seconds: float = 0.0
    data_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_average(self.average)

    @cached_property
    def log_scores(self) -> Tensor:
        """Logarithms of ``scores``, exact where these are too small for float32."""
        return self.log_probs if self.average == "prob" else log_probabilities(self.logits, self.multi_label)

    @cached_property
    def scores(self) -> Tensor:
        """float32 (N, C): the averaged probabilities; they add up to 1 over the classes unless multi-label."""
        return self.log_scores.exp()

    @property
    def multi_label(self) -> bool:
        """Whether a video may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def num_videos(self) -> int:
        """Videos that were read."""
        return len(self.labels)

    @property
    def num_labelled(self) -> int:
        """Videos whose classes are known; in a multi-label evaluation all, as none may be the answer."""
        return self.num_videos if self.multi_label else int((self.labels >= 0).sum())

    @property
    def num_without_class(self) -> int:
        """Videos of a multi-label evaluation that have no class."""
        return int((self.labels.sum(dim=1) == 0).sum())

    @property
    def loss(self) -> float:
        """Mean of -log(score of the label) over the labelled videos; nan where there are none.

        In a multi-label evaluation the binary cross entropy of the scores, its mean over classes and videos.
        """
        if self.multi_label:
            return self._binary_loss()
        is_labelled = self.labels >= 0
        own = self.log_scores[is_labelled].gather(1, self.labels[is_labelled, None])
        return -own.double().mean().item()

    def _binary_loss(self) -> float:
        targets = self.labels.double()
        if self.average == "logit" or self.num_views == 1:  # exact, also where a score is next to 1
            return functional.binary_cross_entropy_with_logits(self.logits.double(), targets).item()
        return functional.binary_cross_entropy(self.log_scores.double().exp(), targets).item()

    @cached_property
    def average_precisions(self) -> list[float | None]:
        """Of each class, over all videos of a multi-label evaluation; None for a class without videos."""
        return average_precisions(self.log_scores, self.labels)

    @property
    def map(self) -> float:
        """mAP of a multi-label evaluation: mean average precision over the classes that have videos.

        Videos without a class count as wrong answers for each class, as in PySlowFast.
        """
        return mean_average_precision(self.average_precisions)

    @property
    def map_labelled(self) -> float:
        """The same over the videos that have a class alone, as Charades' own script (Charades_v1_classify) has it."""
        has_class = self.labels.sum(dim=1) > 0
        return mean_average_precision(average_precisions(self.log_scores[has_class], self.labels[has_class]))

    @property
    def top1(self) -> float:
        return topk_accuracy(self.scores, self.labels, 1)

    @property
    def num_correct(self) -> int:
        """Labelled videos whose best class is their own."""
        return int(self.confusion.diagonal().sum())

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % interval of `top1`, see `wilson_interval`; nan where no video is labelled."""
        return wilson_interval(self.num_correct, self.num_labelled)

    @property
    def chance(self) -> float:
        """What guessing gets: 1 / C; of mAP what equal scores for all videos get, nan where no video has a class."""
        if self.multi_label:
            return mean_average_precision(average_precisions(self.logits.new_zeros(self.labels.shape), self.labels))
        return 1 / len(self.class_names)

    @property
    def largest_class(self) -> float:
        """Share of the class with the most videos: the top-1 of a model that always answers it; nan without labels."""
        return int(self.confusion.sum(dim=1).max()) / self.num_labelled if self.num_labelled else math.nan

    @property
    def top5(self) -> float:
        """Top-5, or top-C where there are fewer than five classes."""
        return topk_accuracy(self.scores, self.labels, 5)

    @property
    def mean_class(self) -> float:
        return mean_class_accuracy(self.confusion)

    @cached_property
    def confusion(self) -> Tensor:
        """Counts, int64 (C, C): a row per true class, a column per best class."""
        return confusion_matrix(self.scores, self.labels)


def check_average(average: str) -> None:
    """Raise ValueError for a word that is none of ``AVERAGES``."""
    if average not in AVERAGES:
        raise ValueError(f"evaluate: average is {average!r}; choose from {', '.join(AVERAGES)}.")
