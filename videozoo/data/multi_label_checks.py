"""Lists with several labels a video that are not read as such: found, so that no label is taken for something else."""

import re
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path

from videozoo.video.errors import VideoError
from videozoo.video.reader import count_frames

from .list_errors import SEVERAL_LABELS

# Files whose frames are counted, of lists with more.
COUNTED = 30
_NUMBERS = re.compile(r"[\[(]?\s*[+-]?[0-9]+(\s*[\s,;|]\s*[+-]?[0-9]+)+\s*[\])]?")
_LISTED = re.compile(r"\[.*,.*\]|\(.*,.*\)")


def find_several_labels(labels: Iterable[str], known: Container[str]) -> list[str]:
    """Return the labels that are several in one: ``0 1``, ``[jump, run]``, or ``jump|run`` beside ``jump``.

    Args:
        labels: as listed.
        known: names of classes. A label that is one of them is one label.
    """
    texts = list(dict.fromkeys(labels))
    parts = {text: [part.strip() for part in re.split("[|;,]", text)] for text in texts}
    # A part of two labels is a class; the commas of a sentence are hardly ever between classes.
    joined = (parts[text] for text in texts if ", " not in text and len(parts[text]) > 1)
    counts = Counter(part for split in joined for part in set(split) if not part.isdigit())

    def is_class(part: str, text: str) -> bool:
        return part in known or part in parts or (", " not in text and counts[part] > 1)

    found = []
    for text in texts:
        is_joined = len(parts[text]) > 1 and any(is_class(part, text) for part in parts[text] if part)
        is_sentence = ", " in text and not all(is_class(part, text) for part in parts[text])
        is_several = _NUMBERS.fullmatch(text) or _LISTED.fullmatch(text) or (is_joined and not is_sentence)
        if is_several and text not in known:
            found.append(text)
    return found


def fault_of_count(stated: int, counted: int, path: str) -> str:
    """Return what is wrong with a number of frames that a list states, empty if it may be right.

    Lists are made by other decoders and at other rates, so only a number off by more than a factor of two is wrong.
    """
    if stated and stated <= 2 * counted and counted <= 2 * stated:
        return ""
    return f"frames {stated}, but {path} has {counted}; a label in its place? {SEVERAL_LABELS}"


def check_counts(stated: list[tuple[str, str, int]], base: Path) -> list[tuple[str, str]]:
    """Compare the numbers of frames that a list states of video files with the files, of long lists of some.

    Args:
        stated: place, path and number of frames of each.
        base: the folder that paths start from.
    Returns:
        place and what is wrong. Files that cannot be read are passed over.
    """
    step = max(len(stated) / COUNTED, 1.0)
    faults = [
        (place, "frames 0 are no video; a label in its place? " + SEVERAL_LABELS) for place, _, n in stated if not n
    ]
    for place, path, number in [stated[int(k * step)] for k in range(min(len(stated), COUNTED))]:
        try:
            fault = fault_of_count(number, count_frames(base / path), path) if number else ""
        except (VideoError, ValueError):
            continue
        if fault:
            faults.append((place, fault))
    return faults
