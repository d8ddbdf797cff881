"""Detection of a validation at chance while training is not."""

import math
from collections.abc import Sequence

from torch import Tensor

from videozoo.engine.results import EpochRow


def describe_chance(history: Sequence[EpochRow], confusion: Tensor) -> str:
    """Return a line where the last epoch is the first whose validation is at chance while its training is not.

    Chance for mean-class accuracy is 1 / C, also for a model that always gives the largest class. At chance is what is
    less than two standard errors above it. Training is not at chance if its top-1 is well above both chance and the
    share of the largest class.

    Args:
        history: rows of the finished epochs.
        confusion: counts (C, C) of the last one, a row per true class.
    """
    flags = [_is_at_chance(row, confusion) for row in history]
    if not flags or not flags[-1] or any(flags[:-1]):
        return ""
    row, num_classes = history[-1], len(confusion)
    return (
        f"validation is at chance (mean-class {row.val_mean_class:.1%}, chance is {1 / num_classes:.1%}) and training "
        f"is not (top-1 {row.train_top1:.1%}): usually too few steps so far, after which the running statistics of "
        "batch norm still lag behind the weights. It should pass with more epochs. If it stays: start from pretrained "
        "weights, take a lower learning rate, and compare the labels of both sets"
    )


def _is_at_chance(row: EpochRow, confusion: Tensor) -> bool:
    counts = confusion.sum(dim=1)
    num_videos, num_present = int(counts.sum()), int((counts > 0).sum())
    if num_present < 2 or row.val_mean_class is None or row.train_top1 is None:
        return False
    chance = 1 / len(confusion)
    # The mean over the classes that have videos, each with its own number of them.
    error = math.sqrt(sum(chance * (1 - chance) / count for count in counts[counts > 0].tolist())) / num_present
    largest = int(counts.max()) / num_videos
    return row.val_mean_class < chance + 2 * error and row.train_top1 > max(1.5 * chance, largest + 0.15)
