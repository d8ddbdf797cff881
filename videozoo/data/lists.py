"""A list of videos on its way into rows."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypedDict, TypeVar

from videozoo.names import shorten

from .comments import is_comment
from .list_errors import Problems, RowFault, SourceError
from .list_text import BLANK, csv_header, read_text, text_lines

Item = TypeVar("Item")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{0,30})?(e-[0-9]{1,2})?")


class Row(NamedTuple):
    """One video as listed.

    ``place`` is its position (``train.txt:12``), ``label`` as written, a class name or index (of a multi-label list
    all of them, joined by ``|``), empty where there is none. ``trouble`` says why a format found no file for it.
    """

    place: str
    path: str
    label: str
    span_sec: tuple[float, float] | None = None
    frame_range: tuple[int, int] | None = None
    trouble: str = ""


def split_labels(text: str) -> list[str]:
    """Return the labels of a video that a list joins by ``|``, or None for an empty text.

    Raises:
        RowFault: nothing is next to a ``|``, or a label comes twice.
    """
    labels = [part.strip(BLANK) for part in text.split("|")] if text.strip(BLANK) else []
    if not all(labels):
        raise RowFault(f"labels {shorten(text)}: one of them is empty")
    if len(set(labels)) < len(labels):
        raise RowFault(f"labels {shorten(text)}: one of them comes twice")
    return labels


class Vocabulary(NamedTuple):
    """The classes as a file of the data set numbers them.

    ``places`` is where each is listed.
    """

    names: tuple[str, ...]
    places: tuple[str, ...]


class Checks(TypedDict):
    """Strictness of reading a list, see :class:`ListFile`."""

    check_files: bool
    multi_label: bool
    needs_labels: bool
    vocabulary: Vocabulary | None


@dataclass(frozen=True)
class ListFile:
    """A list (or a folder of lists) on its way into rows.

    Args:
        path: the list, or the folder.
        base: the folder that paths start from.
        split: which of several splits in it. None: there is one.
        problems: takes what is wrong.
        check_files: look whether the files are there.
        multi_label: a video may have any number of labels, joined by ``|`` in its row.
        needs_labels: every video must have a label.
        vocabulary: what indices mean, in place of a file of names beside the list.
        comments: place and text of those found so far.
        within: only rows whose paths are in this folder of the base are meant. Empty: all.
    """

    path: Path
    base: Path
    split: str | None
    problems: Problems
    check_files: bool = True
    multi_label: bool = False
    needs_labels: bool = True
    vocabulary: Vocabulary | None = None
    comments: dict[str, str] = field(default_factory=dict)
    within: str = ""

    @cached_property
    def text(self) -> str:
        """The text of the list."""
        return read_text(self.path, "surrogateescape")

    def lines(self) -> Iterator[tuple[str, str]]:
        """Place and text of each line that is neither blank nor a comment, stripped."""
        for place, line in text_lines(self.path, self.text):
            if is_comment(line, self.base):
                self.comments[place] = line
            else:
                yield place, line

    def rows(self, items: Iterable[tuple[str, Item]], make: Callable[[str, Item], Row | None]) -> list[Row]:
        """Return what ``make`` makes of the places and contents of a list, except None.

        A RowFault is a problem.
        """
        rows = []
        for place, item in items:
            try:
                rows.append(make(place, item))
            except RowFault as fault:
                self.problems.add(place, str(fault))
        return [row for row in rows if row is not None]


class Listing(NamedTuple):
    """Result of reading a list: its rows, the classes if the data set lists them, and the kind of its labels.

    ``labels_are`` is ``"names"`` or ``"indices"`` where the format says so. Empty, the labels themselves say.
    """

    rows: list[Row]
    vocabulary: Vocabulary | None = None
    labels_are: str = ""


def csv_rows(file: ListFile, columns: tuple[str, ...], path_column: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Place and fields of each row of a csv with a header.

    Rows of another number of columns are noted as problems.

    Args:
        file: the csv. Commas, tabs or semicolons separate, as in its header.
        columns: which must be in the header, once each.
        path_column: holds the path of a video. With it, lines that begin with ``#`` are comments, unless they are rows
            whose file is there.
    Raises:
        SourceError: the header lacks a column.
    """
    header, delimiter = csv_header(file.text)
    if any(header.count(name) != 1 for name in columns):
        found = shorten(",".join(header) or "nothing")
        needed = " and ".join(filter(None, [", ".join(columns[:-1]), columns[-1]]))
        raise SourceError(
            f"{file.path}:1: the header is {found}, must have the column{'s' * (len(columns) > 1)} {needed}."
        )
    place_of_path = header.index(path_column) if path_column else -1

    def is_row(number: int, line: str) -> bool:
        text = line.strip(BLANK + "\r\n")
        if not path_column or not text.startswith("#"):
            return True
        fields = next(csv.reader([text], delimiter=delimiter), [])
        if is_comment(text, file.base, [fields[place_of_path]] if len(fields) == len(header) else []):
            file.comments[f"{file.path.name}:{number}"] = text
            return False
        return True

    lines = _CsvLines(file.text, is_row)
    reader = csv.reader(lines, delimiter=delimiter)
    has_header = False
    try:
        for fields in reader:
            place, lines.at_start = f"{file.path.name}:{lines.number}", True
            fields = [part.strip(BLANK) for part in fields]
            if not any(fields):
                continue
            if not has_header:
                has_header = True
                continue
            if len(fields) != len(header):
                file.problems.add(place, _describe_columns(len(fields), len(header), delimiter))
                continue
            yield place, dict(zip(header, fields, strict=True))
    except csv.Error as err:
        file.problems.add(f"{file.path.name}:{lines.number}", f"not csv ({err})")


class _CsvLines:
    """The lines of a csv, without comments. ``number`` is that of the last one, ``at_start`` is set between rows."""

    def __init__(self, text: str, is_row: Callable[[int, str], bool]) -> None:
        self.text, self.is_row, self.number, self.at_start = text, is_row, 0, True

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(io.StringIO(self.text, newline=""), 1):
            self.number = number
            if not self.at_start or self.is_row(self.number, line):
                self.at_start = False
                yield line


def _describe_columns(found: int, needed: int, delimiter: str) -> str:
    name = {",": "comma", "\t": "tab", ";": "semicolon"}[delimiter]
    hint = f"; a {name} separates: a name that holds one needs quotes" if found > needed else ""
    return f"{found} columns, the header has {needed}{hint}"


def bounds_of(start: str, end: str, what: str) -> tuple[float, float]:
    """Parse two decimal numbers of at most nine digits before the point, of which the second is greater.

    Args:
        start, end: as listed.
        what: name of the values, for the error.
    Raises:
        RowFault: anything else.
    """
    if not all(map(_DECIMAL.fullmatch, (start, end))) or float(start) >= float(end):
        raise RowFault(f"{what}; needs 0 <= start < end")
    return float(start), float(end)
