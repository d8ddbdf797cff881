"""A folder of videos with Hugging Face's ``metadata.csv`` or ``metadata.jsonl`` in it (``VideoFolder``)."""

import os
import re
from dataclasses import replace
from pathlib import Path

from .formats.table import LABEL_COLUMNS, find_label_column
from .list_errors import Problems, SourceError
from .list_text import csv_header
from .lists import ListFile

METADATA_FILES = ("metadata.csv", "metadata.jsonl")


def find_metadata(folder: Path) -> Path | None:
    """Return the file of metadata in a folder, None where there is none.

    Raises:
        SourceError: there are two.
    """
    found = [folder / name for name in METADATA_FILES if (folder / name).is_file()]
    if len(found) > 1:
        raise SourceError(f"{folder}: {' and '.join(METADATA_FILES)} both list its videos; keep one, or pass one.")
    return next(iter(found), None)


def enter_metadata(file: ListFile) -> ListFile:
    """Return the list of a folder's videos in place of the folder, where there is one.

    It is in the folder, or beside the folder (``train``, ``val``), and then only what it lists in there is meant.
    Metadata without labels (captions) beside class folders leave these what they are.

    Raises:
        SourceError: two such files, or one that cannot be read.
    """
    path, folder = find_metadata(file.path), file.path
    has_folders = any(entry.is_dir() for entry in os.scandir(folder))
    if path is None:
        path = None if has_folders else find_metadata(folder.absolute().parent)
        if path is None:
            return file
        base = path.parent if file.base == folder else file.base
        return replace(file, path=path, base=base, problems=Problems(path), within=folder.absolute().name)
    entered = replace(file, path=path, problems=Problems(path))
    if not _has_labels(entered):
        return file if has_folders else entered
    if has_folders:
        hint = "as with Hugging Face, labels come from it, not from folders (data format class_folders takes these)"
        entered.problems.warnings.append(f"{path}: {hint}")
    return entered


def _has_labels(file: ListFile) -> bool:
    if file.path.suffix == ".csv":
        return find_label_column(csv_header(file.text)[0]) is not None
    first = next((line for _, line in file.lines()), "")
    return any(re.search(rf'"{name}"\s*:', first, re.IGNORECASE) for name in LABEL_COLUMNS)
