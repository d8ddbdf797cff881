"""Which classes change when a video is mirrored: those that speak of left and right, or of a sense of turning."""

import re
from collections.abc import Sequence

_OPPOSITES = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}
_WORD = re.compile(r"(?<![a-z])(left|right|(?:anti|counter)[-_ ]?clockwise|clockwise)(?![a-z])", re.IGNORECASE)


def mirror_labels(class_names: Sequence[str]) -> dict[int, int | None]:
    """Map each one-sided class to its mirror class, or to None where the set has none: it must not be mirrored.

    ``turn_left`` and ``turn_right`` change places, as do ``clockwise`` and ``counterclockwise``; every sense of a word
    counts, so that ``right answer`` is not mirrored either, which costs little.

    Returns:
        label to label or None, only for classes with such a word; as ``create_transform(flip_labels=...)`` wants it.
    """
    numbers = {_key(name): label for label, name in enumerate(class_names)}
    one_sided = [label for label, name in enumerate(class_names) if _WORD.search(name)]
    return {label: numbers.get(_key(_WORD.sub(_swap, class_names[label]))) for label in one_sided}


def describe_mirrors(class_names: Sequence[str], mirrors: dict[int, int | None]) -> str:
    """A line for the user; empty where no class is one-sided."""
    pairs = [f"{class_names[a]} <-> {class_names[b]}" for a, b in mirrors.items() if b is not None and a < b]
    alone = [class_names[label] for label, mirror in mirrors.items() if mirror is None]
    parts = [f"mirrored clips change class: {_few(pairs)}"] if pairs else []
    parts += [f"never mirrored: {_few(alone)}"] if alone else []
    return "; ".join(parts)


def _swap(match: re.Match[str]) -> str:
    return _OPPOSITES[_plain(match[0])]


def _plain(word: str) -> str:
    return re.sub(r"^anti", "counter", re.sub(r"[-_ ]", "", word.lower()))


def _key(name: str) -> str:
    """One spelling for all: case and anti/counter do not matter."""
    return _WORD.sub(lambda match: _plain(match[0]), name).lower()


def _few(items: Sequence[str], longest: int = 4) -> str:
    return ", ".join(items[:longest]) + (f" and {len(items) - longest} more" if len(items) > longest else "")
