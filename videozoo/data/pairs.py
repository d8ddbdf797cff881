"""Lists of videos in Python: ``[("a.mp4", "jump"), ("b.mp4", "run")]``."""

import operator
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from .list_errors import Problems, RowFault, SourceError
from .list_text import expand_home
from .lists import Checks, ListFile, Listing, Row

Pair = tuple[str | os.PathLike[str], Any]
WHERE = "the list of (path, label)"


def is_pairs(data: object) -> TypeGuard[Sequence[Pair]]:
    """Return whether data are a list of pairs.

    Paths alone are shards.
    """
    return isinstance(data, list | tuple) and (not data or any(isinstance(item, list | tuple) for item in data))


def open_pairs(data_root: str | os.PathLike[str] | None, checks: Checks) -> ListFile:
    """Return the list that pairs are rows of.

    Their paths start from ``data_root``, else from the working directory.

    Raises:
        SourceError: there is no such folder.
    """
    base = Path(data_root if data_root is not None else ".")
    if not base.is_dir():
        raise SourceError(f"{base}: no such folder; data_root is the folder that the paths start from.")
    return ListFile(Path(WHERE), base, None, Problems(WHERE), **checks)


def read_pairs(file: ListFile, items: Sequence[Pair]) -> Listing:
    """Return the rows of pairs.

    All labels are class names or all are indices, in a multi-label list each a list of these.
    """
    kinds: dict[type, str] = {}

    def text_of(place: str, label: Any) -> str:
        if isinstance(label, str):
            kinds.setdefault(str, place)
            if file.multi_label and "|" in label:
                raise RowFault(f"label {label!r} holds a |; give several labels as a list")
            return label
        try:
            number = operator.index(label)
        except TypeError:
            number = None
        if number is None or isinstance(label, bool):
            raise RowFault(f"label {reprlib.repr(label)} is neither a class name nor an index")
        kinds.setdefault(int, place)
        return str(number)

    def make(place: str, item: Any) -> Row:
        if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str | os.PathLike):
            raise RowFault(f"{reprlib.repr(item)} must be a path and a label")
        path, label = expand_home(item[0]), item[1]
        if not path:
            raise RowFault("the path is empty")
        if file.multi_label and isinstance(label, list | tuple | set | frozenset):
            return Row(place, path, "|".join(text_of(place, one) for one in label))
        return Row(place, path, "" if label is None else text_of(place, label))

    rows = file.rows(((f"items[{number}]", item) for number, item in enumerate(items)), make)
    if len(kinds) == 2:
        file.problems.add(kinds[int], f"label is an index, that of {kinds[str]} a class name; give all as one of them")
    return Listing(rows, labels_are="indices" if list(kinds) == [int] else "names")
