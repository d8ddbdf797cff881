"""UCF101 and HMDB51: files of three train/test splits.

As published with the data sets: ``ucfTrainTestlist`` (``classInd.txt``, ``trainlist01.txt`` to ``testlist03.txt``) and
``testTrainMulti_7030_splits`` (``CLASS_test_split1.txt`` to ``..3.txt``).
"""

import re
from pathlib import Path

from videozoo.data.list_errors import RowFault, SourceError
from videozoo.names import clean_name, shorten

from ..labels import make_vocabulary
from ..list_text import text_lines
from ..lists import ListFile, Listing, Row, Vocabulary

UCF101_FILE = re.compile(r"(train|test)list0([0-9])\.txt")
HMDB51_FILE = re.compile(r"(.+)_test_split([0-9])\.txt")


def read_ucf101(file: ListFile) -> Listing:
    """Return the rows of ``Class/video.avi 1`` (training) or ``Class/video.avi`` (test).

    ``classInd.txt`` beside the list numbers the classes, from 1. Given the folder, ``split`` says which list:
    ``train1`` is ``trainlist01.txt``.

    Raises:
        SourceError: no such split, or an unfit ``classInd.txt``.
    """
    path = file.path
    if path.is_dir():
        part, number = _parse_split(file)
        path = path / f"{part}list{number:02d}.txt"
        if not path.is_file():
            raise SourceError(f"{path}: no such file; split {file.split!r} is read from it.")
    elif file.split is not None:
        raise SourceError(f"{path}: is one split; give the folder to choose {file.split!r} in, or no split.")
    vocabulary = _read_class_numbers(path.parent / "classInd.txt")
    numbers = {name: number for number, name in enumerate(vocabulary.names, 1)}

    def make(place: str, line: str) -> Row:
        fields = line.rsplit(None, 1)
        is_numbered = len(fields) == 2 and re.fullmatch("[0-9]{1,6}", fields[1]) is not None
        video = fields[0] if is_numbered else line
        name = clean_name(video.rpartition("/")[0].rpartition("/")[2])
        if name not in numbers:
            raise RowFault(f"{shorten(video)} must be Class/video, with a class of classInd.txt")
        if is_numbered and int(fields[1]) != numbers[name]:
            raise RowFault(f"{shorten(video)} is listed as class {fields[1]}, but {name} is {numbers[name]}")
        return Row(place, video, name)

    return Listing(file.rows(text_lines(path), make), vocabulary, "names")


def read_hmdb51(file: ListFile) -> Listing:
    """Return the rows of ``video.avi N`` in a file for each class: 1 is for training, 2 for test, 0 for neither.

    Videos are ``CLASS/video.avi`` from the base. ``split`` is ``train1`` to ``test3``.

    Raises:
        SourceError: not the folder of these files, or no such split.
    """
    if not file.path.is_dir():
        raise SourceError(f"{file.path}: one class of HMDB51; pass the folder of all {file.path.name[-11:]} files.")
    part, number = _parse_split(file)
    files = {}
    for path in sorted(file.path.iterdir()):
        match = HMDB51_FILE.fullmatch(path.name)
        if match and int(match[2]) == number:
            files[match[1]] = path
    if not files:
        raise SourceError(
            f"{file.path}: no files CLASS_test_split{number}.txt; split {file.split!r} is read from them."
        )
    wanted = "1" if part == "train" else "2"

    def make(place: str, item: tuple[str, str]) -> Row | None:
        name, line = item
        match = re.fullmatch(r"(.*\S)\s+([012])", line)
        if match is None:
            raise RowFault(f"{shorten(line)} must be a video and 0, 1 or 2")
        return Row(place, f"{name}/{match[1]}", name) if match[2] == wanted else None

    items = ((place, (name, line)) for name, path in files.items() for place, line in text_lines(path))
    rows = file.rows(items, make)
    vocabulary = make_vocabulary([(path.name, name) for name, path in files.items()], file.path)
    return Listing(rows, vocabulary, "names")


def _parse_split(file: ListFile) -> tuple[str, int]:
    match = re.fullmatch(r"(train|test)0?([1-3])", file.split or "")
    if match is None:
        was = "no split was chosen" if file.split is None else f"there is no split {file.split!r}"
        raise SourceError(f"{file.path}: {was}; choose train1, test1, train2, test2, train3 or test3.")
    return match[1], int(match[2])


def _read_class_numbers(path: Path) -> Vocabulary:
    """``1 ApplyEyeMakeup`` a line, numbered from 1."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file; it numbers the classes of UCF101's lists, put it beside them.")
    listed = []
    for number, (place, line) in enumerate(text_lines(path), 1):
        match = re.fullmatch(r"([0-9]{1,6})\s+(\S.*)", line)
        if match is None or int(match[1]) != number:
            raise SourceError(f"{path.parent / place}: {shorten(line)} must be {number} and a class name.")
        listed.append((place, match[2]))
    return make_vocabulary(listed, path)
