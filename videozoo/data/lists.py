"""Lists of videos as text: reading rows, csv and JSON, and telling what is wrong with them, line by line."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from videozoo.names import shorten

SHOWN_PROBLEMS = 20
# What separates the fields of a line; a no-break space is part of a name.
BLANK = " \t\v\f"
Item = TypeVar("Item")
SEVERAL_LABELS = "several labels a video are not supported; list one"


class SourceError(ValueError):
    """A list or folder of videos that training must not start with; the message has files and line numbers."""


@dataclass
class Problems:
    """What is wrong with a source, gathered to be told at once.

    Args:
        where: the list or folder.
        found: one ``place: what`` each, in the order found.
        hint: a word on all of them together.
        warnings: what is odd but no problem.
    """

    where: Path | str
    found: list[str] = field(default_factory=list)
    hint: str = ""
    warnings: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Note a problem."""
        self.found.append(f"{place}: {what}")

    def raise_if_any(self) -> None:
        """Raise what was noted.

        Raises:
            SourceError: with the first 20 problems and the number of the rest.
        """
        if not self.found:
            return
        lines = [f"  {line}" for line in self.found[:SHOWN_PROBLEMS]]
        if len(self.found) > SHOWN_PROBLEMS:
            lines.append(f"  and {len(self.found) - SHOWN_PROBLEMS} more")
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise SourceError("\n".join([f"{self.where}: {count}; nothing was loaded{self.hint}", *lines]))


class Row(NamedTuple):
    """One video as listed.

    ``place`` is where it stands (``train.txt:12``), ``label`` as written, a class name or index; ``trouble`` says why a
    format found no file for it.
    """

    place: str
    path: str
    label: str
    span_sec: tuple[float, float] | None = None
    frame_range: tuple[int, int] | None = None
    trouble: str = ""


class RowFault(Exception):
    """Why an item of a list is no row."""


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
    """

    path: Path
    base: Path
    split: str | None
    problems: Problems
    check_files: bool = True

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


def expand_home(path: str | os.PathLike[str]) -> str:
    """A path whose ``~`` is replaced by the home folder, as a shell does where it is not in quotes."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") and not os.path.lexists(text) else text


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Args:
        errors: ``"surrogateescape"`` for lists, as the names of files may be of any bytes.
    Raises:
        SourceError: it cannot be read, or is not text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors)
    except OSError as err:
        raise SourceError(f"{path}: cannot be read ({err.strerror}).") from err
    except UnicodeDecodeError as err:
        raise SourceError(f"{path}: not UTF-8 text (byte {err.start}); pass a list, a csv or a folder.") from err
    if "\0" in text:
        raise SourceError(f"{path}: not text (it holds zero bytes); pass a list, a csv or a folder.")
    return text


def split_lines(text: str) -> list[str]:
    """Lines ended by LF, CRLF or CR; no other character ends a line, as paths may hold it."""
    return re.split(r"\r\n|\n|\r", text)


def text_lines(path: Path, text: str | None = None) -> Iterator[tuple[str, str]]:
    """Place and stripped text of each line of a file that is not blank; ``text`` where it has been read already."""
    for number, line in enumerate(split_lines(read_text(path) if text is None else text), 1):
        stripped = line.strip(BLANK)
        if stripped:
            yield f"{path.name}:{number}", stripped


def split_columns(line: str, count: int) -> list[str]:
    """Fields of a line: between tabs where it has one, else from the right, as the path before them may hold spaces."""
    if "\t" in line:
        fields = line.split("\t")
    elif line.isascii():
        fields = line.rsplit(None, count - 1)
    else:  # where a no-break space separates nothing
        fields = [field[::-1] for field in re.split(f"[{BLANK}]+", line[::-1], maxsplit=count - 1)][::-1]
    return [field.strip(BLANK) for field in fields]


def csv_header(text: str) -> list[str]:
    """Column names of a csv in lower case; empty where its first line is none."""
    try:
        return [name.strip().lower() for name in next(csv.reader(io.StringIO(text, newline="")), [])]
    except csv.Error:
        return []


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


def json_items(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Place (``train.json:12 (item 12)``) and value of each item of a JSON list.

    Items are decoded one by one, so that each is known by its line.

    Raises:
        SourceError: not a JSON list.
    """
    decoder = json.JSONDecoder()
    blank = re.compile(r"[ \t\r\n]*")

    def skip(position: int) -> int:
        match = blank.match(text, position)
        return match.end() if match else position

    def fault(position: int, what: str) -> SourceError:
        return SourceError(f"{path}:{text.count(chr(10), 0, position) + 1}: not a JSON list ({what}).")

    position = skip(0)
    if not text.startswith("[", position):
        raise fault(position, "it must start with [")
    position, line, counted, number = skip(position + 1), 1, 0, 0
    while not text.startswith("]", position):
        if number > 0:
            if not text.startswith(",", position):
                raise fault(position, f"after item {number} comes {text[position : position + 10]!r}")
            position = skip(position + 1)
        number += 1
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as err:
            what = "nested too deeply" if isinstance(err, RecursionError) else getattr(err, "msg", str(err))
            raise fault(getattr(err, "pos", position), f"item {number}, {what}") from err
        yield f"{path.name}:{line} (item {number})", value
        position = skip(end)
    position = skip(position + 1)
    if position < len(text):
        raise fault(position, "text after its end")


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        SourceError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as err:
        raise SourceError(f"{path}: not JSON that can be read (nested too deeply).") from err
    except json.JSONDecodeError as err:
        raise SourceError(f"{path}:{err.lineno}: not JSON ({err.msg}).") from err
    except ValueError as err:
        if isinstance(err, SourceError):
            raise
        raise SourceError(f"{path}: not JSON that can be read ({err}).") from err


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
