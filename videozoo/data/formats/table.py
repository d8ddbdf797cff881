"""Tables with a name for each column: csv, text separated by tabs or semicolons, JSON lines.

Names of columns are those of pandas users and of Hugging Face's ``VideoFolder`` (``metadata.csv`` and
``metadata.jsonl`` with ``file_name``, ``packaged_modules/folder_based_builder`` of datasets).
"""

import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from videozoo.data.list_errors import SEVERAL_LABELS, RowFault, SourceError
from videozoo.names import shorten

from ..list_text import csv_header
from ..lists import ListFile, Listing, Row, bounds_of, csv_rows

# What the column of files may be called.
PATH_COLUMNS = ("path", "file_name", "filename", "video")
# What the column of labels may be called, and what is then in it.
LABEL_COLUMNS = {"label": "", "labels": "", "class": "names", "class_index": "indices"}
FURTHER_LABEL = re.compile(r"(label|class)[ _-]?[0-9]+")


def find_path_column(columns: Iterable[str]) -> str | None:
    """Return the column of files, None where there is none."""
    return next((name for name in columns if name in PATH_COLUMNS), None)


def find_label_column(columns: Iterable[str]) -> str | None:
    """Return the column of labels, None where there is none."""
    names = set(columns)
    return next((name for name in LABEL_COLUMNS if name in names), None)


def read_csv(file: ListFile) -> Listing:
    """Return the rows of a csv with a header, separated by commas, tabs or semicolons.

    Files are in the column ``path`` (or ``file_name``, ``filename``, ``video``). The column ``label`` holds class names
    or indices. ``class`` in its place holds names alone, ``class_index`` indices alone. Columns ``start`` and ``end``
    (seconds) give the part of the file that is the video, ``start_frame`` and ``end_frame`` (from 0, the end not
    counted) its frames. Empty, all of it. Other columns are passed over. In a multi-label list the labels of a video
    are joined by ``|``, and none is a video without a class.

    Raises:
        SourceError: the header has no path, no label where one is needed, or several of either (``label``, ``label2``).
    """
    header, _ = csv_header(file.text)
    try:
        path, label = _find_columns(header)
    except RowFault as fault:
        raise SourceError(f"{file.path}:1: {fault}.") from fault
    columns = (path or "path", label or "label") if label or file.needs_labels else (path or "path",)

    def make(place: str, fields: dict[str, str]) -> Row:
        return _make_row(place, fields, columns[0], label, file.multi_label)

    return Listing(
        file.rows(csv_rows(file, columns, columns[0]), make), labels_are=LABEL_COLUMNS[label] if label else ""
    )


def read_jsonl(file: ListFile) -> Listing:
    """Return the rows of JSON lines, an object each, with the keys that are the columns of a csv.

    Null counts as empty.

    Numbers without quotes are class indices where all labels are. A list of labels is several labels.

    Raises:
        SourceError: no object has a path.
    """
    rows: list[Row] = []
    values: list[Any] = []
    label_columns: set[str] = set()

    def make(place: str, line: str) -> Row:
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as err:
            raise RowFault(f"{shorten(line)} is not JSON ({getattr(err, 'msg', 'nested too deeply')})") from err
        if not isinstance(item, dict):
            raise RowFault(f'{reprlib.repr(item)} must be an object, such as {{"file_name": "a.mp4", "label": "jump"}}')
        fields = {key.strip().lower(): value for key, value in item.items()}
        if len(fields) < len(item):
            raise RowFault(f"{reprlib.repr(item)} has a key twice but for case; keep one")
        path, label = _find_columns(fields)
        if path is None:
            raise RowFault(
                f"{reprlib.repr(item)} must have a file_name (or {', '.join(PATH_COLUMNS[:1] + PATH_COLUMNS[2:])})"
            )
        if not isinstance(fields[path], str):
            raise RowFault(f"{path} is {reprlib.repr(fields[path])}, must be text")
        if label:
            label_columns.add(label)
            values.extend(fields[label] if isinstance(fields[label], list) else [fields[label]])
        return _make_row(
            place, {key: _text_of(key, value) for key, value in fields.items()}, path, label, file.multi_label
        )

    rows = file.rows(file.lines(), make)
    if len(label_columns) > 1:
        raise SourceError(
            f"{file.path}: labels are {' and '.join(sorted(label_columns))} in different lines; take one."
        )
    labels_are = LABEL_COLUMNS[label_columns.pop()] if label_columns else ""
    are_numbers = bool(values) and all(isinstance(value, int) for value in values)
    return Listing(rows, labels_are=labels_are or "indices" * are_numbers)


def _find_columns(columns: Iterable[str]) -> tuple[str | None, str | None]:
    """Return the columns of files and labels.

    Raises:
        RowFault: two columns of files, or further ones of labels.
    """
    names = list(columns)
    label = find_label_column(names)
    paths = [name for name in names if name in PATH_COLUMNS]
    if {"label", "labels"} <= set(names):
        raise RowFault("label and labels may both hold the labels; rename one")
    further = next((name for name in names if FURTHER_LABEL.fullmatch(name)), None)
    if further is not None:
        raise RowFault(f"the columns {label or 'label'} and {further}; {SEVERAL_LABELS}")
    if len(set(paths)) > 1:
        raise RowFault(f"{' and '.join(paths)} may both name the files; rename one")
    return next(iter(paths), None), label


def _make_row(place: str, fields: Mapping[str, str], path: str, label: str | None, may_lack_label: bool) -> Row:
    if not fields[path] or (label and not fields[label] and not may_lack_label):
        raise RowFault(f"the {label if fields[path] else path} is empty")
    span = _bounds(fields, "start", "end")
    frames = _bounds(fields, "start_frame", "end_frame")
    if frames is not None and not (frames[0].is_integer() and frames[1].is_integer()):
        raise RowFault(f"start_frame {frames[0]} and end_frame {frames[1]} must be whole numbers")
    if span is not None and frames is not None:
        raise RowFault("it has start and end and start_frame and end_frame; leave either pair empty")
    frame_range = (int(frames[0]), int(frames[1])) if frames else None
    return Row(place, fields[path], fields[label] if label else "", span, frame_range)


def _bounds(fields: Mapping[str, str], start_name: str, end_name: str) -> tuple[float, float] | None:
    texts = fields.get(start_name, ""), fields.get(end_name, "")
    return bounds_of(*texts, f"{start_name} is {texts[0]!r} and {end_name} {texts[1]!r}") if any(texts) else None


def _text_of(key: str, value: object) -> str:
    """Return a value as a csv would hold it.

    Raises:
        RowFault: a label of another type.
    """
    if value is None:
        return ""
    if key in LABEL_COLUMNS:
        labels = value if isinstance(value, list) else [value]
        for label in labels:
            if not isinstance(label, str | int) or isinstance(label, bool):
                raise RowFault(f"{key} is {reprlib.repr(value)}, must be a class name or index")
            if isinstance(value, list) and isinstance(label, str) and "|" in label:
                raise RowFault(f"{key} is {reprlib.repr(value)}; one of them holds a |, which joins labels")
        if isinstance(value, list):
            return "|".join(map(str, value))
    return str(value).strip() if isinstance(value, str) else str(value)
