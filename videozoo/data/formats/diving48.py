"""Diving48: ``Diving48_V2_train.json`` and ``Diving48_V2_test.json``, ``Diving48_vocab.json``, mp4 files in ``rgb``.

As published by its authors (SVCL, University of California San Diego; RESOUND, ECCV 2018): a list of objects with
``vid_name``, ``label``, ``start_frame`` and ``end_frame``, and the vocabulary, a list of the four parts of each class.
"""

import reprlib
from pathlib import Path

from ..files import videos_by_stem
from ..labels import check_names
from ..lists import ListFile, Listing, Row, SourceError, Vocabulary, json_items, read_text

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
    found = videos_by_stem(file.base, FOLDERS)
    rows = []
    for place, item in json_items(file.path, file.text):
        name = item.get("vid_name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            file.problems.add(place, f"{reprlib.repr(item)} must have a vid_name")
            continue
        label = item.get("label")
        limit = len(vocabulary.names) if vocabulary else 10**6
        if not _is_count(label) or not label < limit:
            file.problems.add(place, f"{name} has label {reprlib.repr(label)}, must be 0 to {limit - 1}")
            continue
        start, end = item.get("start_frame", 0), item.get("end_frame", 0)
        is_cut = "start_frame" in item or "end_frame" in item
        if is_cut and not (_is_count(start) and _is_count(end) and start < end):
            what = f"start_frame {reprlib.repr(start)} and end_frame {reprlib.repr(end)}"
            file.problems.add(place, f"{name} has {what}; needs 0 <= start < end")
            continue
        paths = found.get(name, [])
        path = paths[0] if paths else f"{name}.mp4"
        trouble = "" if paths else f"no {name}.mp4 in {file.base}, its rgb or its videos"
        text = vocabulary.names[label] if vocabulary else str(label)
        rows.append(Row(place, path, text, None, (start, end) if start else None, trouble))
    return Listing(rows, vocabulary, "names" if vocabulary else "indices")


def _read_vocabulary(file: Path) -> Vocabulary | None:
    if not file.is_file():
        return None
    names: list[str] = []
    places: list[str] = []
    for place, parts in json_items(file, read_text(file)):
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
            raise SourceError(f"{file.parent / place}: must be a list of the words of a class.")
        names.append("+".join(parts))
        places.append(place)
    return Vocabulary(check_names(names, str(file)), tuple(places))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
