"""Something-Something, V1 (and Jester) as ``id;label`` with folders of frames, V2 as JSON with webm files.

As the data sets were published, by TwentyBN, later Qualcomm: ``something-something-v1-{train,validation,test}.csv``
and ``something-something-v1-labels.csv``. ``something-something-v2-{train,validation,test,labels}.json``, now
``train.json``, ``validation.json``, ``test.json`` and ``labels.json``.
"""

import csv
import json
import re
import reprlib
from pathlib import Path
from typing import Any

from videozoo.data.list_errors import RowFault, SourceError
from videozoo.names import shorten

from ..files import VideoFinder
from ..labels import make_vocabulary, read_names
from ..list_text import json_items, read_json, read_text
from ..lists import ListFile, Listing, Row, Vocabulary

V1_FOLDERS = ("", "20bn-something-something-v1", "20bn-jester-v1")
V2_FOLDERS = ("", "20bn-something-something-v2")


def read_something_v1(file: ListFile) -> Listing:
    """Return the rows of ``id;label`` (or ``id,label``), without a header.

    The frames of a video are the folder of its id.

    Classes are those of ``...-labels.csv`` beside the list in alphabetical order, which is how TRN, TSM and what is
    built on them number them. The file itself is not in that order.

    Raises:
        SourceError: the file of labels is not fit.
    """
    find = VideoFinder(file.base, V1_FOLDERS, "")

    def make(place: str, line: str) -> Row:
        match = re.match(r"\s*([0-9]{1,18})\s*([;,])\s*(.*\S)", line)
        if match is None:
            raise RowFault(f"{shorten(line)} must be id;label, with a label")
        label = match[3]
        if match[2] == "," and label.startswith('"'):
            # A comma in a label needs quotes only where commas separate.
            label = next(iter(csv.reader([label])), [label])[0].strip()
        path, trouble = find(match[1])
        return Row(place, path, label, trouble=trouble)

    rows = file.rows(file.lines(), make)
    names_file = _labels_beside(file.path, ".csv")
    if names_file is None:
        return Listing(rows, labels_are="names")
    vocabulary = read_names(names_file)
    pairs = sorted(zip(vocabulary.names, vocabulary.places, strict=True))
    return Listing(rows, Vocabulary(*map(tuple, zip(*pairs, strict=True))), "names")


def read_something_v2(file: ListFile) -> Listing:
    """Items with ``id`` and ``template``.

    The class is the template without its brackets.

    Videos are ``ID.webm`` (or any other ending, or folders of frames). Classes are numbered by ``labels.json`` (or
    ``...-labels.json``) beside the list.

    Raises:
        SourceError: not such JSON. The labels are missing or not fit.
    """
    find = VideoFinder(file.base, V2_FOLDERS, ".webm")

    def make(place: str, item: Any) -> Row:
        if not isinstance(item, dict) or not _is_id(item.get("id")):
            raise RowFault(f"{reprlib.repr(item)} must have an id, of digits")
        template = item.get("template")
        if not isinstance(template, str) or not template.strip():
            has = "no template" if template is None else f"template {reprlib.repr(template)}"
            raise RowFault(f"video {item['id']} has {has}; pass the training or validation list")
        path, trouble = find(str(item["id"]))
        return Row(place, path, template.replace("[", "").replace("]", "").strip(), trouble=trouble)

    rows = file.rows(json_items(file.path, file.text), make)
    names_file = _labels_beside(file.path, ".json")
    if names_file is None:
        raise SourceError(
            f"{file.path}: the classes are numbered by labels.json, which is not beside it; put it there."
        )
    return Listing(rows, _read_labels(names_file), "names")


def _read_labels(file: Path) -> Vocabulary:
    """``{"Approaching something with your camera": "0", ...}``, numbered without gaps."""
    value = read_json(file)
    if not isinstance(value, dict) or not value:
        raise SourceError(f"{file}: must be a JSON object of names and numbers.")
    numbers = {}
    for name, number in value.items():
        if not isinstance(number, str | int) or re.fullmatch(r"[0-9]{1,6}", str(number)) is None:
            raise SourceError(f"{file}: class {name!r} is numbered {reprlib.repr(number)}, must be a number from 0.")
        numbers[int(number)] = name.strip()
    if sorted(numbers) != list(range(len(value))):
        raise SourceError(f"{file}: numbers of {len(value)} classes must be 0 to {len(value) - 1}, each once.")
    written = [numbers[label] for label in range(len(value))]
    text = read_text(file)
    lines = [text.count("\n", 0, max(text.find(json.dumps(name, ensure_ascii=False)), 0)) + 1 for name in written]
    return make_vocabulary([(f"{file.name}:{line}", name) for line, name in zip(lines, written, strict=True)], file)


def _labels_beside(path: Path, ending: str) -> Path | None:
    """``labels.json`` beside ``train.json``, ``x-labels.json`` beside ``x-train.json``."""
    prefix = re.sub(r"(train|validation|val|test)[^/]*$", "", path.name)
    names = [
        f"{prefix}labels{ending}",
        f"labels{ending}",
        *sorted(p.name for p in path.parent.glob(f"*-labels{ending}")),
    ]
    return next((path.parent / name for name in names if (path.parent / name).is_file() and name != path.name), None)


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and re.fullmatch(r"[0-9]{1,18}", str(value)) is not None
