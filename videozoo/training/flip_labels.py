"""Labels of flipped clips: classes whose names contain left and right, up and down, or a sense of rotation."""

import re
from collections.abc import Mapping, Sequence

from videozoo.text import some

# Words that mean something else, or nothing, upside down.
_VERTICAL = re.compile(
    r"(?:up|down)(?:wards?|hill|stairs|side)?|top|bottom|above|below|over|under|jump(?:s|ing)?"
    r"|(?:rais|ris|lower|lift|climb|fall|drop|sink|lean|bend|stand|sit|squat)(?:e|es|ed|s|ing|ting)?"
)
_OPPOSITES = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}
_ABBREVIATIONS = {"l": "left", "r": "right", "cw": "clockwise", "ccw": "counterclockwise", "acw": "counterclockwise"}
# The words of CamelCase, of capitals and of small letters, and what is between them.
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
# In small letters, with \0 between tokens.
_SIDE = re.compile(
    r"(?<![a-z])(?:(?P<side>left|right)(?P<end>wards?|hand(?:ed)?|side|most)?"
    r"|(?:(?P<counter>anti|counter)\0?[-_ ]?\0?)?(?P<turn>clock\0?[-_ ]?\0?wise)"
    r"|(?P<short>l|r|cw|ccw|acw))(?![a-z])"
)


def mirror_labels(class_names: Sequence[str]) -> dict[int, int | None]:
    """Map each one-sided class to its mirror class, or to None where the set has none: it must not be flipped.

    ``turn_left`` and ``TurnRight`` change places, as do ``clockwise`` and ``counterclockwise``. Words are found between
    spaces and signs, in CamelCase and beside digits. L, R, CW and CCW count as words of their own. Within a word of
    small letters (``swipeleft``) a side counts if its opposite is a class too. Every sense of a word counts, so that
    ``right answer`` is not flipped either, which costs little.

    Returns:
        label to label or None, only for classes with such a word. As ``create_transform(flip_labels=...)`` wants it.
    """
    numbers = {_spell(name): label for label, name in enumerate(class_names)}
    mirrors: dict[int, int | None] = {}
    for label, name in enumerate(class_names):
        if _spell(name) != _spell(name, _OPPOSITES):
            mirrors[label] = numbers.get(_spell(name, _OPPOSITES))
    plain = {name.lower(): label for label, name in enumerate(class_names)}
    for name, label in plain.items():
        other = plain.get(re.sub("left|right", lambda match: _OPPOSITES[match[0]], name), label)
        if other != label and label not in mirrors:
            mirrors[label] = other
    return mirrors


def describe_mirrors(class_names: Sequence[str], mirrors: Mapping[int, int | None]) -> str:
    """Return a line for the user on what flips do to the classes."""
    if not mirrors:
        return "horizontal flips: no class name has left, right or a sense of turning in it; --hflip 0 turns them off"
    pairs = [f"{class_names[a]} <-> {class_names[b]}" for a, b in mirrors.items() if b is not None and a < b]
    alone = [class_names[label] for label, mirror in mirrors.items() if mirror is None]
    parts = [f"flipped clips change class: {some(pairs, 4)}"] if pairs else []
    parts += [f"never flipped: {some(alone, 4)}"] if alone else []
    return f"horizontal flips: {'; '.join(parts)}"


def vertical_labels(class_names: Sequence[str]) -> dict[int, int | None]:
    """Map each class that names up, down or a sense of turning to None: its clips must not be turned upside down.

    Returns:
        only those classes. As ``create_transform(vflip_labels=...)`` wants it.
    """
    found: dict[int, int | None] = {}
    for label, name in enumerate(class_names):
        words = [word.lower() for word in _TOKEN.findall(name)]
        turns = any(match["turn"] or match["short"] in ("cw", "ccw", "acw") for match in _SIDE.finditer(_plain(name)))
        if turns or any(_VERTICAL.fullmatch(word) for word in words):
            found[label] = None
    return found


def describe_verticals(class_names: Sequence[str], labels: Mapping[int, int | None]) -> str:
    """Return a line for the user on which classes vertical flips leave alone."""
    if not labels:
        return "vertical flips: no class name has up, down or a sense of turning in it"
    return f"vertical flips: never flipped: {some([class_names[label] for label in labels], 4)}"


def _plain(name: str) -> str:
    return "\0".join(_TOKEN.findall(name)).lower()


def _spell(name: str, replace: Mapping[str, str] | None = None) -> str:
    """Return one spelling of a class name, in small letters and without abbreviations.

    Args:
        replace: put these in the place of the words for sides.
    """

    def write(match: re.Match[str]) -> str:
        word = match["side"] or _ABBREVIATIONS.get(match["short"] or "", "")
        word = word or ("counterclockwise" if match["counter"] else "clockwise")
        return (replace or {}).get(word, word) + (match["end"] or "")

    return _SIDE.sub(write, _plain(name)).replace("\0", "")
