"""Labeled videos written as a list that ``load_source`` reads with the same classes."""

import os
from collections.abc import Sequence
from pathlib import Path

from videozoo.data.labels import is_index
from videozoo.data.list_errors import SourceError
from videozoo.data.list_text import BLANK
from videozoo.data.records import VideoRecord
from videozoo.data.sources import load_source
from videozoo.jobs.disk import write_whole
from videozoo.text import csv_text

CLASSES = "classes.txt"


def write_list(path: Path, records: Sequence[VideoRecord], class_names: Sequence[str]) -> None:
    """Write a csv of path, label and, where records are parts of files, the parts.

    Labels are names where these alone give the same classes in the same order, else indices with ``classes.txt`` beside
    (a class may have lost all its videos). The column is called ``class`` where names are numbers, ``class_index`` for
    indices, so that the one is not taken for the other. Without class names there is no such column. The labels of
    multi-label records are joined by ``|``, in a column ``labels`` of names.

    Args:
        path: the csv.
        records: of files, not of members of shards. Paths inside the csv's folder are written relative to it.
        class_names: of all classes.
    Raises:
        JobError: the disk refused.
    """
    if not records:
        write_whole(path, "path,label\n" if class_names else "path\n")
        return
    write_whole(path, _to_csv(path.parent, records, class_names))
    if class_names and not _reads_as(path, records, class_names):
        write_whole(path.with_name(CLASSES), "".join(f"{name}\n" for name in class_names))
        write_whole(path, _to_csv(path.parent, records, None))


def _are_multi_label(records: Sequence[VideoRecord]) -> bool:
    return any(record.labels is not None for record in records)


def _to_csv(folder: Path, records: Sequence[VideoRecord], class_names: Sequence[str] | None) -> str:
    has_spans = any(record.span_sec for record in records)
    has_ranges = any(record.frame_range for record in records)
    is_multi = _are_multi_label(records)
    column = "class_index" if class_names is None else "labels" if is_multi else "label"
    if class_names is not None and any(map(is_index, class_names)):
        column = "class"
    has_labels = class_names is None or len(class_names) > 0
    rows = [["path", *[column] * has_labels, *["start", "end"] * has_spans, *["start_frame", "end_frame"] * has_ranges]]
    home = os.path.abspath(folder)
    for record in records:
        full = os.path.abspath(record.path)
        name = os.path.relpath(full, home) if full.startswith(home + os.sep) else full
        # Readers cut blanks at the ends of fields, and take a line that begins with # for a comment.
        name = os.path.join(".", name) if name[:1] in (*BLANK, "#") else name
        name = os.path.join(name, ".") if name[-1:] in BLANK else name
        row = [name]
        if has_labels:
            labels = record.classes if is_multi else (record.label,)
            row.append("|".join(str(label) if class_names is None else class_names[label] for label in labels))
        if has_spans:
            row += [*map(repr, record.span_sec)] if record.span_sec else ["", ""]
        if has_ranges:
            row += [*map(str, record.frame_range)] if record.frame_range else ["", ""]
        rows.append(row)
    return csv_text(rows)


def _reads_as(path: Path, records: Sequence[VideoRecord], class_names: Sequence[str]) -> bool:
    try:
        source = load_source(path, check_files=False, multi_label=_are_multi_label(records))
    except SourceError:
        return False
    is_same = [(record.label, record.labels) for record in source.records] == [
        (record.label, record.labels) for record in records
    ]
    return is_same and source.class_names == tuple(class_names)
