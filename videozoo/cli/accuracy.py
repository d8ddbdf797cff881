"""Lines about an accuracy: counts, interval, chance, the worst classes and confusions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 3  # classes and confusions


def describe_trust(results: Mapping[str, Any]) -> str:
    """Return ``22 of 24 videos, 95% interval 74.2% to 97.7%``.

    Args:
        results: the content of a results.json, with labeled videos.
    """
    low, high = results["top1_interval"]
    counts = f"{results['num_correct']} of {results['num_labelled']} videos"
    return f"{counts}, 95% interval {low:.1%} to {high:.1%}"


def describe_chance(results: Mapping[str, Any]) -> list[str]:
    """Return ``chance 25.0%``, and the accuracy of always predicting the largest class if that is clearly more."""
    chance, largest = results["chance"], results["largest_class"]
    words = [f"chance {chance:.1%}"]
    return [*words, f"always the largest class {largest:.1%}"] if (largest or 0) > 1.1 * chance else words


def describe_average_precisions(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows (title, text) for a multi-label evaluation: chance, and the classes with the lowest values."""
    pairs = zip(results["class_names"], results["per_class"], strict=True)
    worst = sorted((value, name) for name, value in pairs if value is not None)[:SHOWN]
    worst_text = "; ".join(f"{name} {value:.1%}" for value, name in worst)
    chance = results.get("chance")
    rows = [] if chance is None else [("chance", f"{chance:.1%}, the mAP of equal scores")]
    return [*rows, ("worst", worst_text)] if worst_text else rows


def describe_mistakes(confusion: "Tensor", names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the rows of a title and a text: the classes with the lowest accuracy and the worst confusions."""
    from videozoo.engine.metrics import worst_classes, worst_confusions

    classes = [f"{names[label]} {hits} of {total}" for label, hits, total in worst_classes(confusion, SHOWN)]
    pairs = [
        f"{names[one.true]} taken for {names[one.taken]} {one.count} of {one.total}"
        for one in worst_confusions(confusion, SHOWN)
    ]
    rows = (("worst", classes), ("confused", pairs))
    return [(title, "; ".join(texts)) for title, texts in rows if texts]
