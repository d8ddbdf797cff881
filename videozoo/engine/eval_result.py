"""Result of an evaluation, with its metrics."""

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
    """Result of an evaluation: the scores of every video that could be read, and the metrics computed from them.

    Both averages over the views are kept, so you can switch to the other one without the videos.

    Args:
        log_probs: float32 (N, C) on the CPU: logarithm of the mean over the views of the softmax, in a multi-label
            evaluation of the sigmoid. Rows are in the order of ``indices``.
        logits: float32 (N, C): mean over the views of the outputs of the model.
        labels: int64 (N,), -1 where unlabeled. In a multi-label evaluation (N, C) of zeros and ones.
        indices: int64 (N,), rising: index of each video in its data set.
        class_names: C names.
        num_views: views of one video that were averaged, of all members together in an ensemble.
        average: the average in ``scores``: ``prob``, or ``logit`` (the softmax, or sigmoid, of the mean).
        unread: (index, problem) of each video that could not be read. These videos are not among the rows.
        seconds, data_seconds: duration, and the part of it spent waiting for the loader.
    Example:
        >>> import videozoo
        >>> result = videozoo.evaluate(model="test_arc_tsm.motions", data="more_videos", workers=0, device="cpu")
        >>> result.scores.shape, result.labels.shape, result.unread
        (torch.Size([12, 6]), torch.Size([12]), ())
        >>> low, high = result.top1_interval
        >>> low <= result.top1 <= high
        True
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

    def __repr__(self) -> str:
        name, value = ("mAP", self.map) if self.multi_label else ("top-1", self.top1)
        unread = f", {len(self.unread)} unread" if self.unread else ""
        score = f"{value:.1%}" if math.isfinite(value) else "unknown"
        return f"EvalResult({name} {score}, {self.num_videos} videos, {len(self.class_names)} classes{unread})"

    @cached_property
    def log_scores(self) -> Tensor:
        """Logarithms of ``scores``, exact where these are too small for float32."""
        return self.log_probs if self.average == "prob" else log_probabilities(self.logits, self.multi_label)

    @cached_property
    def scores(self) -> Tensor:
        """Averaged probabilities, float32 (N, C), which add up to 1 over the classes unless multi-label."""
        return self.log_scores.exp()

    @property
    def multi_label(self) -> bool:
        """True if a video may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def num_videos(self) -> int:
        """Number of videos that were read."""
        return len(self.labels)

    @property
    def num_labelled(self) -> int:
        """Number of videos whose classes are known (in a multi-label evaluation all, as a video may have no class)."""
        return self.num_videos if self.multi_label else int((self.labels >= 0).sum())

    @property
    def num_without_class(self) -> int:
        """Number of videos of a multi-label evaluation that have no class."""
        return int((self.labels.sum(dim=1) == 0).sum())

    @property
    def loss(self) -> float:
        """Mean of -log(score of the label) over the labeled videos, or nan if no video is labeled.

        In a multi-label evaluation it is the binary cross entropy, averaged over classes and videos.
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
        """Average precision of each class in a multi-label evaluation, or None for a class without videos."""
        return average_precisions(self.log_scores, self.labels)

    @property
    def map(self) -> float:
        """Mean average precision (mAP) of a multi-label evaluation over the classes that have videos.

        Videos without a class count as wrong for each class, as in PySlowFast.
        """
        return mean_average_precision(self.average_precisions)

    @property
    def map_labelled(self) -> float:
        """mAP over the videos that have a class, as in Charades' own script (Charades_v1_classify)."""
        has_class = self.labels.sum(dim=1) > 0
        return mean_average_precision(average_precisions(self.log_scores[has_class], self.labels[has_class]))

    @property
    def top1(self) -> float:
        """Fraction of labeled videos whose best class is their label, or nan if no video is labeled."""
        return topk_accuracy(self.scores, self.labels, 1)

    @property
    def num_correct(self) -> int:
        """Number of labeled videos whose best class is their label."""
        return int(self.confusion.diagonal().sum())

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % confidence interval of `top1` (see `wilson_interval`), or nan if no video is labeled."""
        return wilson_interval(self.num_correct, self.num_labelled)

    @property
    def chance(self) -> float:
        """Result of guessing: 1 / C.

        For mAP it is that of equal scores for all videos, or nan if no video has a class.
        """
        if self.multi_label:
            return mean_average_precision(average_precisions(self.logits.new_zeros(self.labels.shape), self.labels))
        return 1 / len(self.class_names)

    @property
    def largest_class(self) -> float:
        """Fraction of videos in the largest class, the top-1 of always predicting it, or nan without labels."""
        return int(self.confusion.sum(dim=1).max()) / self.num_labelled if self.num_labelled else math.nan

    @property
    def top5(self) -> float:
        """Top-5 accuracy, or top-C if there are fewer than five classes."""
        return topk_accuracy(self.scores, self.labels, 5)

    @property
    def mean_class(self) -> float:
        """Mean over the classes of the accuracy of each class."""
        return mean_class_accuracy(self.confusion)

    @cached_property
    def confusion(self) -> Tensor:
        """Confusion matrix, int64 (C, C): a row per true class, a column per best class."""
        return confusion_matrix(self.scores, self.labels)


def check_average(average: str) -> None:
    """Raise ValueError for a word that is none of ``AVERAGES``."""
    if average not in AVERAGES:
        raise ValueError(f"evaluate: average is {average!r}; choose from {', '.join(AVERAGES)}.")
