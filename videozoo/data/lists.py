"""A list of videos on its way into rows."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from videozoo.names import shorten

from .list_text import BLANK, read_text, text_lines
from .problems import Problems, RowFault, SourceError

Item = TypeVar("Item")


class Row(NamedTuple):
    """One video as listed.

    ``place`` is where it stands (``train.txt:12``), ``label`` as written, a class name or index (of a
    multi-label list all of them, joined by ``|``); ``trouble`` says why a
    format found no file for it.
    """

    place: str
    path: str
    label: str
    span_sec: tuple[float, float] | None = None
    frame_range: tuple[int, int] | None = None
    trouble: str = ""


def split_labels(text: str) -> list[str]:
    """Return the labels of a video that a list joins by ``|``; none for an empty text.

    Raises:
        RowFault: nothing stands beside a ``|``, or a label comes twice.
    """
    labels = [part.strip(BLANK) for part in text.split("|")] if text.strip(BLANK) else []
    if not all(labels):
        raise RowFault(f"labels {shorten(text)}: one of them is empty")
    if len(set(labels)) < len(labels):
        raise RowFault(f"labels {shorten(text)}: one of them comes twice")
    return labels


class Vocabulary(NamedTuple):
    """The classes as a file of the data set numbers them; ``places`` is where each is listed."""

    names: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True)
class ListFile:
    """A list (or a folder of lists) on its way into rows.

    Args:
        path: the list, or the folder.
        base: the folder that paths start from.
        split: which of several splits in it; None: there is one.
        problems: takes what is wrong.
        check_files: look whether the files are there.
        multi_label: a video may have any number of labels, joined by ``|`` in its row.
    """

    path: Path
    base: Path
    split: str | None
    problems: Problems
    check_files: bool = True
    multi_label: bool = False

    @cached_property
    def text(self) -> str:
        """The text of the list."""
        return read_text(self.path, "surrogateescape")

    def lines(self) -> Iterator[tuple[str, str]]:
        """Place and text of each line that is not blank, stripped."""
        return text_lines(self.path, self.text)

    def rows(self, items: Iterable[tuple[str, Item]], make: Callable[[str, Item], Row | None]) -> list[Row]:
        """Return what ``make`` makes of the places and contents of a list, except None; a RowFault is a problem."""
        rows = []
        for place, item in items:
            try:
                rows.append(make(place, item))
            except RowFault as fault:
                self.problems.add(place, str(fault))
        return [row for row in rows if row is not None]


class Listing(NamedTuple):
    """What a format read: its rows, the classes where the data set lists them, and what its labels are.

    ``labels_are`` is ``"names"`` or ``"indices"`` where the format says so; empty, the labels themselves say.
    """

    rows: list[Row]
    vocabulary: Vocabulary | None = None
    labels_are: str = ""


def csv_rows(file: ListFile, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and fields of each row of a csv with a header; rows of another number of columns are noted as problems.

    Args:
        file: the csv.
        columns: which must be in the header, once each.
    Raises:
        SourceError: the header lacks one.
    """
    reader = csv.reader(io.StringIO(file.text, newline=""))
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if any(header.count(name) != 1 for name in columns):
            found = shorten(",".join(header) or "nothing")
            needed = " and ".join([", ".join(columns[:-1]), columns[-1]])
            raise SourceError(f"{file.path}:1: the header is {found}, must have the columns {needed}.")
        for fields in reader:
            place = f"{file.path.name}:{reader.line_num}"
            fields = [part.strip(BLANK) for part in fields]
            if not any(fields):
                continue
            if len(fields) != len(header):
                file.problems.add(place, f"{len(fields)} columns, the header has {len(header)}")
                continue
            yield place, dict(zip(header, fields, strict=True))
    except csv.Error as err:
        file.problems.add(f"{file.path.name}:{reader.line_num}", f"not csv ({err})")


def bounds_of(start: str, end: str, told: str) -> tuple[float, float]:
    """Two plain decimal numbers of at most nine digits before the point, the second one greater.

    Args:
        start, end: as listed.
        told: what they are, for the error.
    Raises:
        RowFault: anything else.
    """
    if not all(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) for text in (start, end)) or float(start) >= float(end):
        raise RowFault(f"{told}; needs 0 <= start < end")
    return float(start), float(end)
