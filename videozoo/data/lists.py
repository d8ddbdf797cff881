"""Text lists of videos: reading their rows, and telling what is wrong with them, line by line."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

SHOWN_PROBLEMS = 20


class SourceError(ValueError):
    """A list or folder of videos that training must not start with; the message has files and line numbers."""


@dataclass
class Problems:
    """What is wrong with a source, gathered to be told at once.

    Args:
        where: the list or folder.
        found: one ``place: what`` each, in the order found.
    """

    where: Path
    found: list[str] = field(default_factory=list)

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
        raise SourceError("\n".join([f"{self.where}: {count}; nothing was loaded", *lines]))


@dataclass(frozen=True)
class Row:
    """One line of a list: where it stands (``train.txt:12``), its path and its label as written."""

    place: str
    path: str
    label: str


def read_rows(path: Path, problems: Problems) -> list[Row]:
    """Rows of a ``path label`` list, or of a csv with the columns path and label.

    In a list the label is the last field; the path before it may hold spaces. A tab, where a line has one, separates
    instead, and then labels may hold spaces too. Blank lines are passed over. A byte order mark and CRLF are fine.

    Args:
        path: the list; ``.csv`` tells the kind.
        problems: takes lines of a wrong number of columns.
    Raises:
        SourceError: the list cannot be read as UTF-8 text, or a csv has no such header.
    """
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        return _csv_rows(path, text, problems)
    rows = []
    for number, line in enumerate(split_lines(text), 1):
        place = f"{path.name}:{number}"
        if not line.strip():
            continue
        fields = [part.strip() for part in line.split("\t")] if "\t" in line.strip() else line.rsplit(None, 1)
        if len(fields) != 2 or not all(fields):
            problems.add(place, f"{len(fields)} columns in {_shorten(line)}, must be two: path and label")
            continue
        rows.append(Row(place, fields[0].strip(), fields[1]))
    return rows


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        SourceError: it cannot be read, or is not text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
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


def _csv_rows(path: Path, text: str, problems: Problems) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""))
    rows = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if header.count("path") != 1 or header.count("label") != 1:
            found = ",".join(header) or "nothing"
            raise SourceError(f"{path}:1: the header is {_shorten(found)}, must have the columns path and label.")
        path_column, label_column = header.index("path"), header.index("label")
        for fields in reader:
            place = f"{path.name}:{reader.line_num}"
            if not any(part.strip() for part in fields):
                continue
            if len(fields) != len(header):
                problems.add(place, f"{len(fields)} columns, the header has {len(header)}")
                continue
            row = Row(place, fields[path_column].strip(), fields[label_column].strip())
            if row.path and row.label:
                rows.append(row)
            else:
                problems.add(place, f"the {'label' if row.path else 'path'} is empty")
    except csv.Error as err:
        problems.add(f"{path.name}:{reader.line_num}", f"not csv ({err})")
    return rows


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
