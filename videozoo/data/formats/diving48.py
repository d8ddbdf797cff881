"""Diving48: ``Diving48_V2_train.json`` and ``Diving48_V2_test.json``, ``Diving48_vocab.json``, mp4 files in ``rgb``.

As published by its authors (SVCL, University of California San Diego, RESOUND, ECCV 2018): a list of objects with
``vid_name``, ``label``, ``start_frame`` and ``end_frame``, and the vocabulary, a list of the four parts of each class.
"""

import reprlib
from pathlib import Path
from typing import Any

from videozoo.data.list_errors import RowFault, SourceError

from ..files import VideoFinder
from ..labels import make_vocabulary
from ..list_text import json_items, read_text
from ..lists import ListFile, Listing, Row, Vocabulary

FOLDERS = ("", "rgb", "videos")


def read_diving48(file: ListFile) -> Listing:
    """Items with ``vid_name`` and ``label``, and the frames from ``start_frame`` up to before ``end_frame``.

    Where ``start_frame`` is 0 the file is taken whole: the published files are cut to their dive, ``end_frame`` is then
    its number of frames, and decoders may differ by one. Classes are named by ``Diving48_vocab.json`` beside the list,
    where it is, their parts joined by ``+``.

    Raises:
        SourceError: not such JSON, or an unfit vocabulary.
    """
    vocabulary = _read_vocabulary(file.path.parent / "Diving48_vocab.json")
    limit = len(vocabulary.names) if vocabulary else 10**6
    find = VideoFinder(file.base, FOLDERS, ".mp4")

    def make(place: str, item: Any) -> Row:
        name = item.get("vid_name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            raise RowFault(f"{reprlib.repr(item)} must have a vid_name")
        label = item.get("label")
        if not _is_count(label) or not label < limit:
            raise RowFault(f"{name} has label {reprlib.repr(label)}, must be 0 to {limit - 1}")
        start, end = item.get("start_frame", 0), item.get("end_frame", 0)
        is_cut = "start_frame" in item or "end_frame" in item
        if is_cut and not (_is_count(start) and _is_count(end) and start < end):
            what = f"start_frame {reprlib.repr(start)} and end_frame {reprlib.repr(end)}"
            raise RowFault(f"{name} has {what}; needs 0 <= start < end")
        path, trouble = find(name)
        text = vocabulary.names[label] if vocabulary else str(label)
        return Row(place, path, text, None, (start, end) if start else None, trouble)

    rows = file.rows(json_items(file.path, file.text), make)
    return Listing(rows, vocabulary, "names" if vocabulary else "indices")


def _read_vocabulary(file: Path) -> Vocabulary | None:
    if not file.is_file():
        return None
    listed = []
    for place, parts in json_items(file, read_text(file)):
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
            raise SourceError(f"{file.parent / place}: must be a list of the words of a class.")
        listed.append((place, "+".join(parts)))
    return make_vocabulary(listed, file)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
