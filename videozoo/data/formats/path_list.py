"""``path label`` a line, or a path alone where no label is needed.

The former is also what MMAction2 calls a video list (``mmaction/datasets/video_dataset.py`` there) and what SlowFast
and its successors keep in files that end in ``.csv``.
"""

import os
from itertools import islice

from videozoo.data.list_errors import SEVERAL_LABELS, RowFault
from videozoo.names import shorten

from ..files import is_video_name
from ..list_text import split_columns
from ..lists import ListFile, Listing, Row

# Lines by which it is decided what separates.
HEAD = 50
_NAMES = {"\t": "tab", ";": "semicolon", ",": "comma"}


def read_path_list(file: ListFile) -> Listing:
    """Return the rows of ``path label``, or of paths.

    The label is the last field. The path before it may hold spaces. A tab, where a line has one, separates instead, and
    a semicolon or a comma, where one is in every line. Then labels may hold spaces too. Blank lines are passed over. A
    byte order mark and CRLF are fine.
    """
    separator = find_separator(file)

    def make(place: str, line: str) -> Row:
        if _is_path(file, line):
            return Row(place, line, "")
        if separator in (";", ",") and "\t" not in line:
            if separator not in line:
                raise RowFault(f"{shorten(line)} has no {_NAMES[separator]}, as the lines before it have")
            fields = [part.strip() for part in line.rsplit(separator, 1)]
        else:
            fields = split_columns(line, 2)
        if len(fields) != 2 or not all(fields):
            hint = f"; {SEVERAL_LABELS}" if len(fields) > 2 else ""
            raise RowFault(f"{len(fields)} columns in {shorten(line)}, must be two: path and label{hint}")
        if len(fields[1].split()) > 1 and any(is_video_name(part) for part in fields[1].split()[:-1]):
            raise RowFault(
                f"{shorten(line)} may be {shorten(fields[0])} of class {shorten(fields[1])}, or a name with what "
                "separates in it; write a csv with the header path,label and such names in quotes"
            )
        return Row(place, fields[0], fields[1])

    return Listing(file.rows(file.lines(), make))


def find_separator(file: ListFile) -> str:
    """Return the tab, semicolon or comma that separates path and label in every line, empty if blanks do."""
    lines = [line for _, line in islice(file.lines(), HEAD)]
    for sign in _NAMES:
        if lines and all(_is_separated(file, line, sign) for line in lines):
            return sign
    return ""


def is_bare(file: ListFile) -> bool:
    """Return whether the first line of a list is a path alone."""
    first = next((line for _, line in file.lines()), "")
    return bool(first) and (is_video_name(os.path.basename(first)) or _exists(file, first))


def _is_separated(file: ListFile, line: str, sign: str) -> bool:
    path, _, label = (part.strip() for part in line.rpartition(sign))
    if not path or not label or (sign != "\t" and "\t" in line):
        return False
    return (is_video_name(os.path.basename(path)) or _exists(file, path)) and not (
        sign != "\t" and (_exists(file, line) or _exists(file, split_columns(line, 2)[0]))
    )


def _is_path(file: ListFile, line: str) -> bool:
    """Return whether a line is a path without a label: nothing separates, or a file's name holds what does."""
    fields = split_columns(line, 2)
    is_video, is_labelled = is_video_name(os.path.basename(line)), is_video_name(os.path.basename(fields[0]))
    if len(fields) != 2:
        return len(fields) == 1 and (is_video or not any(sign in line for sign in _NAMES) or _exists(file, line))
    if is_video != is_labelled:
        return is_video
    return _exists(file, line) and not _exists(file, fields[0])


def _exists(file: ListFile, path: str) -> bool:
    try:
        return os.path.exists(file.base / path)
    except (OSError, ValueError):
        return False
