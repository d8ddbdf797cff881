"""``path label`` a line, and csv with the columns path and label.

The former is also what MMAction2 calls a video list (``mmaction/datasets/video_dataset.py`` there) and what SlowFast
and its successors keep in files that end in ``.csv``.
"""

import re

from videozoo.names import shorten

from ..list_text import csv_header, split_columns
from ..lists import ListFile, Listing, Row, bounds_of, csv_rows
from ..problems import SEVERAL_LABELS, RowFault, SourceError

# What the column of labels may be called, and what is then in it.
LABEL_COLUMNS = {"label": "", "labels": "", "class": "names", "class_index": "indices"}
FURTHER_LABEL = re.compile(r"(label|class)[ _-]?[0-9]+")


def read_path_list(file: ListFile) -> Listing:
    """Rows of ``path label``.

    The label is the last field; the path before it may hold spaces. A tab, where a line has one, separates instead, and
    then labels may hold spaces too. Blank lines are passed over. A byte order mark and CRLF are fine.
    """

    def make(place: str, line: str) -> Row:
        fields = split_columns(line, 2)
        if len(fields) != 2 or not all(fields):
            hint = f"; {SEVERAL_LABELS}" if len(fields) > 2 else ""
            raise RowFault(f"{len(fields)} columns in {shorten(line)}, must be two: path and label{hint}")
        return Row(place, fields[0], fields[1])

    return Listing(file.rows(file.lines(), make))


def read_csv(file: ListFile) -> Listing:
    """Rows of a csv with a header.

    The column ``label`` holds class names or indices; ``class`` in its place holds names alone, ``class_index`` indices
    alone. Columns ``start`` and ``end`` (seconds) give the part of the file that is the video, ``start_frame`` and
    ``end_frame`` (from 0, the end not counted) its frames; empty, all of it. Other columns are passed over. In a
    multi-label list the labels of a video are joined by ``|``, and none is a video without a class.

    Raises:
        SourceError: the header has no path, no label, or several (``label``, ``label2``).
    """
    header = csv_header(file.text)
    column = next((name for name in LABEL_COLUMNS if name in header), "label")
    further = next((name for name in header if FURTHER_LABEL.fullmatch(name)), None)
    if further is not None:
        raise SourceError(f"{file.path}:1: the columns {column} and {further}; {SEVERAL_LABELS}.")

    def make(place: str, fields: dict[str, str]) -> Row:
        if not fields["path"] or not (fields[column] or file.multi_label):
            raise RowFault(f"the {column if fields['path'] else 'path'} is empty")
        span = _bounds(fields, "start", "end")
        frames = _bounds(fields, "start_frame", "end_frame")
        if frames is not None and not (frames[0].is_integer() and frames[1].is_integer()):
            raise RowFault(f"start_frame {frames[0]} and end_frame {frames[1]} must be whole numbers")
        frame_range = (int(frames[0]), int(frames[1])) if frames else None
        return Row(place, fields["path"], fields[column], span, frame_range)

    return Listing(file.rows(csv_rows(file, ("path", column)), make), labels_are=LABEL_COLUMNS[column])


def _bounds(fields: dict[str, str], start_name: str, end_name: str) -> tuple[float, float] | None:
    texts = fields.get(start_name, ""), fields.get(end_name, "")
    return bounds_of(*texts, f"{start_name} is {texts[0]!r} and {end_name} {texts[1]!r}") if any(texts) else None
