"""Text from outside (names of classes and files, configs, messages of libraries), made safe to show."""

import csv
import difflib
import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = [
    "cause",
    "columns_text",
    "count_of",
    "csv_text",
    "first_few",
    "first_line",
    "gmacs_text",
    "is_printable",
    "json_text",
    "markdown_table",
    "near_names",
    "printable",
    "some",
]

# Line and paragraph separators, and what makes a reader see letters in another order than they have.
_BAD = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_printable(text: str) -> bool:
    """Return whether nothing in a text can command a terminal: no controls, line breaks or changes of direction.

    Letters, marks and spaces of every script are printable, also those that Python's ``str.isprintable`` refuses (the
    no-break space, joiners).
    """
    return not any(map(_is_bad, text))


def printable(text: str, lines: str = "none", encoding: str | None = None) -> str:
    r"""Return a text with all that is not printable, as :func:`is_printable` says, written as JSON escapes it.

    Args:
        text: anything.
        lines: which line breaks stay: ``none``, ``indented`` (those before a line that begins with two spaces) or
            ``all``.
        encoding: of where the text goes. Letters that it lacks are escaped too.
    """
    if lines == "none":
        safe = _escape(text)
    elif lines == "all":
        safe = "\n".join(map(_escape, text.split("\n")))
    else:
        first, *rest = text.split("\n")
        safe = _escape(first) + "".join(("\n" if line.startswith("  ") else "\\n") + _escape(line) for line in rest)
    try:
        safe.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        safe = "".join(letter if letter.isascii() else _escaped(letter) for letter in safe)
    return safe


def json_text(value: Any, indent: int | None = None, *, allow_nan: bool = True) -> str:
    """Return JSON with letters as they are.

    Bytes of file names that are not UTF-8 become the escapes of JSON.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return text.encode("utf-8", "backslashreplace").decode()


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return the rows as csv, a line each, ended by LF.

    Fields that hold a CR or LF are in quotes.
    """
    lines = _Lines()
    # Before Python 3.13 a writer puts a field with a CR in quotes only if its lines end in one.
    csv.writer(lines, lineterminator="\r\n").writerows(rows)
    return "".join(lines)


class _Lines(list[str]):
    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def cause(error: Exception) -> str:
    """Return what went wrong, without the path that errors of the operating system repeat."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that has something in it, empty if none has."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def near_names(
    name: str,
    known: Iterable[str],
    words: str = "; near: {}",
    *,
    most: int = 3,
    cutoff: float = 0.6,
    show: Callable[[str], str] = str,
) -> str:
    """Return a hint with the names that are most like a mistyped one, the nearest first, empty if none is like it.

    Args:
        words: the hint, with ``{}`` where the names go.
        most: so many names at most.
        cutoff: how alike a name must be, from 0 to 1, as `difflib.get_close_matches` measures it.
        show: how a name is written.
    """
    near = difflib.get_close_matches(name, list(known), most, cutoff)
    return words.format(", ".join(map(show, near))) if near else ""


def count_of(items: Sequence[object], one: str, many: str = "") -> str:
    """Return how many items there are, as ``1 video`` or ``3 videos``.

    ``many`` where the plural has no plain s.
    """
    return f"1 {one}" if len(items) == 1 else f"{len(items)} {many or one + 's'}"


def some(items: Sequence[str], most: int = 8) -> str:
    """Return the first items and the number of the rest, as ``a, b and 3 more``."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def first_few(items: Sequence[str], most: int = 20, rest: str = "") -> list[str]:
    """Return the first items and, where there are others, ``and 3 more`` with the words of ``rest`` behind it."""
    return [*items[:most], f"and {len(items) - most} more{rest}"] if len(items) > most else list(items)


def gmacs_text(macs: int) -> str:
    """Return MACs in billions as text, such as ``36.29``.

    The caller adds the unit, GMACs.
    """
    return f"{macs / 1e9:.2f}" if macs >= 1e7 else f"{macs / 1e9:.2g}"


def columns_text(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table with aligned columns, the head first.

    Columns without a value are left out.

    Args:
        head: names of the columns.
        rows: cells.
        right: names of the columns that are aligned to the right.
    """
    cells = list(rows)
    kept = [k for k in range(len(head)) if any(row[k] for row in cells)]
    table = [[row[k] for k in kept] for row in [head, *cells]]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    sides = [head[k] in right for k in kept]
    lines = []
    for row in table:
        parts = zip(row, widths, sides, strict=True)
        padded = [
            " " * (width - _width(cell)) + cell if side else cell + " " * (width - _width(cell))
            for cell, width, side in parts
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _width(text: str) -> int:
    """Columns that a text takes in a terminal: wide letters (Chinese, Japanese, Korean) take two, marks none."""
    return sum(
        2 if unicodedata.east_asian_width(letter) in "WF" else not unicodedata.combining(letter) for letter in text
    )


def _is_bad(letter: str) -> bool:
    return letter in _BAD or unicodedata.category(letter) in ("Cc", "Cs")


def _escape(text: str) -> str:
    if text.isprintable():  # the most common case, and the fast one
        return text
    return "".join(_escaped(letter) if _is_bad(letter) else letter for letter in text)


def _escaped(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    data = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[k : k + 2].hex()}" for k in range(0, len(data), 2))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], rules: Sequence[str] = ()) -> str:
    """Return a table in Markdown, without a line break at its end.

    Args:
        head: names of the columns.
        rows: cells, Markdown already.
        rules: ``---`` or ``--:`` for each column, where not all are the former.
    """
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rules or ["---"] * len(head), *rows])
