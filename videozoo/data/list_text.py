"""The text of lists: lines, columns, csv, JSON.

Each part with its place.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .list_errors import SourceError

# What separates the fields of a line; a no-break space is part of a name.
BLANK = " \t\v\f"
CSV_DELIMITERS = (",", "\t", ";")


def expand_home(path: str | os.PathLike[str]) -> str:
    """Return a path whose ``~`` is replaced by the home folder, as a shell does where it is not in quotes."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") and not os.path.lexists(text) else text


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

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
    """Return lines ended by LF, CRLF or CR.

    No other character ends a line, as paths may hold it.
    """
    return re.split(r"\r\n|\n|\r", text)


def text_lines(path: Path, text: str | None = None) -> Iterator[tuple[str, str]]:
    """Place and stripped text of each line of a file that is not blank.

    ``text`` where it has been read already.
    """
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


def csv_header(text: str) -> tuple[list[str], str]:
    """Return the column names of a csv in lower case, and what separates them: of comma, tab and semicolon the one that
    makes most columns.

    Blank lines and comments before them are passed over. No names where the first line is no header.
    """
    lines = (line.strip(BLANK + "\r\n") for line in io.StringIO(text, newline=""))
    first = next((line for line in lines if line and not line.startswith("#")), "")
    headers = [(_csv_names(first, delimiter), delimiter) for delimiter in CSV_DELIMITERS]
    return max(headers, key=lambda pair: len(pair[0]))


def _csv_names(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


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
    """Return the value of a JSON file.

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
