"""Detection of a list's format from its content."""

import re
from collections import Counter
from itertools import islice

from videozoo.data.files import look_into
from videozoo.data.list_errors import SEVERAL_LABELS, SourceError
from videozoo.data.list_text import csv_header, json_items, read_json
from videozoo.data.lists import ListFile

from .frame_lists import COLUMNS, frame_range, split_fields
from .multi_label import MULTI_LABEL_FORMATS
from .path_list import find_separator, is_bare
from .table import find_label_column, find_path_column
from .train_test_splits import HMDB51_FILE, UCF101_FILE

# Lines that are looked at.
HEAD = 50


def detect_format(file: ListFile) -> str:
    """Name of the format of a list, or of a folder.

    Raises:
        SourceError: none fits, or several do. It says which, and how to choose.
    """
    if file.path.is_dir():
        return _recognise_folder(file)
    if file.path.suffix.lower() == ".jsonl":
        return "jsonl"
    # A path may begin with a bracket, too.
    if file.path.suffix.lower() == ".json" or re.match(r'\s*(\[\s*[\[{"\]]|\{\s*["}])', file.text):
        return _recognise_json(file)
    header, _ = csv_header(file.text)
    if "youtube_id" in header:
        return "kinetics"
    is_csv = file.path.suffix.lower() in (".csv", ".tsv")
    # A list of folders of frames may hold one that is called video.
    is_table = find_label_column(header) is not None or is_csv or not is_bare(file)
    if find_path_column(header) is not None and is_table:
        return "csv"
    if re.match(r"\s*[0-9]{1,18}\s*" + (r"[;,]\s*[^0-9\s]" if is_csv else r";\s*[^0-9\s]"), file.text):
        return "something_v1"
    if HMDB51_FILE.fullmatch(file.path.name) and all(re.search(r"\s[012]$", line) for _, line in file.lines()):
        raise SourceError(
            f"{file.path}: one class of HMDB51's splits (hmdb51), or any list (path_list)? Pass the folder of these "
            "files for the former, say data_format='path_list' for the latter."
        )
    if (file.path.parent / "classInd.txt").is_file() and file.path.name != "classInd.txt":
        return "ucf101"
    return _recognise_columns(file)


def detect_multi_label(file: ListFile, data_format: str | None) -> str:
    """Name of the format of a list with several labels a video, the given one if it is fit.

    Raises:
        SourceError: another kind of source, in which a video has one class.
    """
    if data_format not in (None, *MULTI_LABEL_FORMATS) or not file.path.is_file():
        what = "a folder" if file.path.is_dir() else f"a list of {data_format}"
        raise SourceError(
            f"{file.path}: {what}, in which a video has one class; several labels a video are in a list of "
            "'path label label' lines, or in a csv with labels joined by |."
        )
    if data_format is None and file.path.suffix.lower() == ".jsonl":
        return "jsonl"
    header, _ = csv_header(file.text)
    has_columns = find_path_column(header) is not None and find_label_column(header) is not None
    return data_format or ("csv" if has_columns else "path_list")


def _recognise_folder(file: ListFile) -> str:
    names = [entry.name for entry in file.path.iterdir()]
    if any(HMDB51_FILE.fullmatch(name) for name in names):
        return "hmdb51"
    if any(UCF101_FILE.fullmatch(name) for name in names):
        return "ucf101"
    return "class_folders"


def _recognise_json(file: ListFile) -> str:
    if re.match(r"\s*\{", file.text):
        value = read_json(file.path)
        if isinstance(value, dict) and value and all(isinstance(number, str | int) for number in value.values()):
            raise SourceError(f"{file.path}: numbers of classes, not videos; pass the list that is beside it.")
        raise SourceError(
            f"{file.path}: JSON of an unknown kind; known are lists of Something-Something V2 (id, template) and of "
            "Diving48 (vid_name, label)."
        )
    for _, item in islice(json_items(file.path, file.text), HEAD):
        if isinstance(item, dict) and "vid_name" in item:
            return "diving48"
        if isinstance(item, dict) and "id" in item:
            return "something_v2"
    raise SourceError(
        f"{file.path}: a JSON list of an unknown kind; items must have id and template (Something-Something V2) or "
        "vid_name and label (Diving48)."
    )


def _recognise_columns(file: ListFile) -> str:
    lines = [line for _, line in islice(file.lines(), HEAD)]
    is_plain = find_separator(file) != "" or is_bare(file)
    is_csv = file.path.suffix.lower() in (".csv", ".tsv")
    if is_csv and lines and not is_plain and not re.search(r"\S\s+[0-9]+$", lines[0]):
        # Let its reader say what the header lacks; lists that only call themselves csv end in an index.
        return "csv"
    if UCF101_FILE.fullmatch(file.path.name):
        raise SourceError(
            f"{file.path}: a list of UCF101 (ucf101), counting classes from 1, or any list (path_list)? Put "
            "classInd.txt beside it for the former, say data_format='path_list' for the latter."
        )
    if any(_is_there(file, line, columns) for line in lines for columns in range(5, 2 + _count_numbers(line, 20))):
        raise SourceError(f"{file.path}: more than three numbers behind the paths; {SEVERAL_LABELS}.")
    common = Counter(_count_numbers(line) for line in lines).most_common(1)
    num_numbers = common[0][0] if common else 1
    if num_numbers < 2:
        return "path_list"
    found = {
        columns: sum(_is_there(file, line, columns) for line in lines) for columns in range(2, min(num_numbers, 3) + 2)
    }
    columns = max(found, key=lambda number: (found[number], number))
    if columns == 2:
        return "path_list"
    return "frame_list" if columns == 3 else _offset_or_range(file, lines)


def _count_numbers(line: str, most: int = 3) -> int:
    """Whole numbers at the end of a line, at most so many."""
    return next((n for n in range(most, 0, -1) if split_fields(line, n + 1)), 0)


def _is_there(file: ListFile, line: str, columns: int) -> bool:
    fields = split_fields(line, columns)
    try:
        return fields is not None and (file.base / fields[0]).exists()
    except (OSError, ValueError):
        return False


def _offset_or_range(file: ListFile, lines: list[str]) -> str:
    """Tell ``path offset frames label`` from ``path start end label`` by the images that are there."""
    fitting = {"offset_list", "range_list"}
    for line in lines:
        fields = split_fields(line, 4)
        folder = look_into(str(file.base / fields[0])) if fields else None
        if fields and int(fields[2]) < int(fields[1]):
            fitting.discard("range_list")
        if fields and folder is not None and folder.num_frames:
            numbers = (int(fields[1]), int(fields[2]))
            fitting -= {name for name in fitting if frame_range(name, numbers, folder)[1]}
    if len(fitting) == 1:
        return fitting.pop()
    if not fitting:
        what = "of three numbers behind a path some are neither offset and number of frames nor first and last frame"
        raise SourceError(f"{file.path}: {what}; {SEVERAL_LABELS}.")
    kinds = " or ".join(f"{' '.join(COLUMNS[name])} ({name})" for name in ("offset_list", "range_list"))
    raise SourceError(f"{file.path}: four columns may be {kinds}; say which by data_format ({SEVERAL_LABELS}).")
