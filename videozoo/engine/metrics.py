"""Accuracies and average precisions from scores and labels: pure functions on CPU tensors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_CLASSES_AT_ONCE = 64  # whose scores are sorted


def rank_classes(scores: Tensor) -> Tensor:
    """Order the classes of each row by falling score.

    Equal scores keep the order of their class numbers.

    Shape: scores (N, C). Returns int64 (N, C), the best class first.
    """
    return scores.argsort(dim=1, descending=True, stable=True)


def topk_accuracy(scores: Tensor, labels: Tensor, k: int) -> float:
    """Return the fraction of the labeled rows whose label is among the ``k`` best scores.

    Args:
        labels: int64 (N,). Rows with label -1 are left out.
        k: clamped to the number of classes, so that top-5 of three classes is 1.
    Shape: scores (N, C). Returns a ratio in [0, 1], nan where no row is labeled.
    """
    is_labelled = labels >= 0
    best = rank_classes(scores[is_labelled])[:, :k]
    hits = (best == labels[is_labelled, None]).any(dim=1)
    return hits.double().mean().item()


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """Count rows by (true class, best class).

    Rows with label -1 are left out.

    Shape: scores (N, C), labels (N,). Returns int64 (C, C), a row per true class.
    """
    num_classes = scores.shape[1]
    is_labelled = labels >= 0
    predicted = rank_classes(scores[is_labelled])[:, 0]
    cells = labels[is_labelled] * num_classes + predicted
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def average_precisions(scores: Tensor, labels: Tensor) -> list[float | None]:
    """Return the average precision of each class over all rows.

    None for a class that no row has.

    The mean, over the rows that have the class, of the precision at their rank: of the rows with that score or a better
    one, the share that has the class. Rows with equal scores have one rank, as in scikit-learn, so that their order
    does not matter.

    Args:
        scores: of any monotone kind, such as logarithms of probabilities.
        labels: of zeros and ones.
    Shape: scores (N, C), labels (N, C). Returns C ratios in [0, 1].
    """
    if not len(scores):
        return [None] * scores.shape[1]
    pairs = zip(scores.split(_CLASSES_AT_ONCE, dim=1), labels.split(_CLASSES_AT_ONCE, dim=1), strict=True)
    return [value for some in pairs for value in _average_precisions(*some)]


def _average_precisions(scores: Tensor, labels: Tensor) -> list[float | None]:
    order = scores.argsort(dim=0, descending=True, stable=True)
    ranked = scores.gather(0, order)
    hits = labels.gather(0, order).double()
    precisions = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    # The place at which the run of equal scores ends that a row is in.
    places = torch.arange(len(ranked))[:, None].expand_as(ranked)
    is_last = torch.ones_like(ranked, dtype=torch.bool)
    is_last[:-1] = ranked[1:] != ranked[:-1]
    ends = torch.where(is_last, places, len(ranked)).flip(0).cummin(0).values.flip(0)
    sums, totals = (hits * precisions.gather(0, ends)).sum(0).tolist(), hits.sum(0).tolist()
    return [value / total if total else None for value, total in zip(sums, totals, strict=True)]


def mean_average_precision(precisions: Sequence[float | None]) -> float:
    """Return the mean of `average_precisions` over the classes that some row has.

    Nan where there is none.
    """
    present = [value for value in precisions if value is not None]
    return sum(present) / len(present) if present else float("nan")


def pack_counts(confusion: Tensor) -> dict[str, Any]:
    """Return a confusion matrix as its cells that are not zero, which `unpack_counts` takes.

    Returns:
        num_classes, and int64 (K,) ``cells`` (true class times C plus best class) and ``counts``.
    """
    flat = confusion.flatten()
    cells = flat.nonzero()[:, 0]
    return {"num_classes": len(confusion), "cells": cells, "counts": flat[cells]}


def unpack_counts(packed: Mapping[str, Any] | Tensor | None) -> Tensor | None:
    """Return the confusion matrix, int64 (C, C).

    As it is where it is whole, as in checkpoints of earlier versions.
    """
    if not isinstance(packed, Mapping):
        return packed
    size = int(packed["num_classes"])
    confusion = torch.zeros(size * size, dtype=torch.int64)
    confusion[packed["cells"]] = packed["counts"]
    return confusion.reshape(size, size)


def class_accuracies(confusion: Tensor) -> list[float | None]:
    """Return the fraction of each class's videos that were predicted as that class.

    None for a class without videos.

    Shape: confusion (C, C), a row per true class. Returns C ratios in [0, 1].
    """
    totals = confusion.sum(dim=1).tolist()
    hits = confusion.diagonal().tolist()
    return [hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def mean_class_accuracy(confusion: Tensor) -> float:
    """Return the mean of the classes' accuracies over the classes that have videos.

    Nan where none has.

    Shape: confusion (C, C), a row per true class.
    """
    present = [accuracy for accuracy in class_accuracies(confusion) if accuracy is not None]
    return sum(present) / len(present) if present else float("nan")


def wilson_interval(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the range that contains a ratio with 95 % confidence, given that it was seen ``hits`` times of ``total``.

    Wilson's score interval (1927), which also holds for few videos and for ratios next to 0 and 1. It takes the videos
    as independent draws, and knows nothing of a model that was chosen on them.

    Args:
        z: quantile of the normal distribution. The default is that of 95 %.
    Returns:
        both ends, in [0, 1], the ratio never outside of them. Nan where ``total`` is 0.
    Raises:
        ValueError: more hits than videos, or fewer than none.
    """
    if not 0 <= hits <= total:
        raise ValueError(f"wilson_interval: {hits} of {total}; needed are 0 <= hits <= total.")
    if not total:
        return math.nan, math.nan
    ratio, scale = hits / total, 1 + z * z / total
    middle = (ratio + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(ratio * (1 - ratio) / total + z * z / (4 * total * total))
    # Rounding would put 10 of 10 above its own interval.
    return max(0.0, min(ratio, middle - half)), min(1.0, max(ratio, middle + half))


@dataclass(frozen=True)
class Confusion:
    """Confusion of class ``true`` with class ``taken``: ``count`` of the ``total`` videos of ``true``."""

    true: int
    taken: int
    count: int
    total: int


def worst_confusions(confusion: Tensor, most: int = 10) -> list[Confusion]:
    """Return the confusions that take the largest share of their class, the worst first.

    Shape: confusion (C, C), a row per true class.
    """
    cells = confusion.nonzero()
    cells = cells[cells[:, 0] != cells[:, 1]]
    counts, totals = confusion[cells[:, 0], cells[:, 1]], confusion.sum(dim=1)[cells[:, 0]]
    order = (counts.double() / totals).argsort(descending=True, stable=True)[:most].tolist()
    rows = torch.column_stack((cells, counts, totals))[order].tolist()
    return [Confusion(true, taken, count, total) for true, taken, count, total in rows]


def worst_classes(confusion: Tensor, most: int = 10) -> list[tuple[int, int, int]]:
    """Return label, videos that were right and videos of the classes with the lowest accuracy, the worst first.

    Classes without a mistake are left out.

    Shape: confusion (C, C), a row per true class.
    """
    counts = zip(confusion.diagonal().tolist(), confusion.sum(dim=1).tolist(), strict=True)
    rows = sorted((hits / total, label, hits, total) for label, (hits, total) in enumerate(counts) if hits < total)
    return [(label, hits, total) for _, label, hits, total in rows[:most]]
