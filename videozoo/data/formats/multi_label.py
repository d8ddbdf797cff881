"""Lists of videos with several labels each: ``path 0 3`` a line."""

import os
import re

from videozoo.data.list_errors import RowFault, SourceError
from videozoo.names import shorten

from ..files import is_video_name, look_into
from ..list_text import BLANK
from ..lists import ListFile, Listing, Row
from ..records import VIDEO_EXTENSIONS

# Formats in which a video may have several labels: this one, and tables.
MULTI_LABEL_FORMATS = ("path_list", "csv", "jsonl")
# Folders whose images are counted.
COUNTED = 30


def read_multi_label(file: ListFile) -> Listing:
    """Return the rows of ``path label label ...``: a video may have any number of labels, or none.

    Labels are indices, each a field, or names, joined by ``|``. A tab, where a line has one, separates the fields
    instead of blanks, and then labels may hold blanks.

    Raises:
        SourceError: the first number behind each folder of frames is its number of images, as in TSM's lists.
    """
    stated: list[bool] = []

    def make(place: str, line: str) -> Row:
        path, labels = _split(file, line)
        if len(stated) < COUNTED and labels and labels[0].isdigit() and (folder := look_into(str(file.base / path))):
            stated.append(folder.num_frames == int(labels[0]))
        return Row(place, path, "|".join(labels))

    rows = file.rows(file.lines(), make)
    if len(stated) > 1 and all(stated):
        raise SourceError(
            f"{file.path}: the first number behind each folder is its number of images; a list of several labels a "
            "video has the path and the labels alone."
        )
    return Listing(rows)


def _split(file: ListFile, line: str) -> tuple[str, list[str]]:
    """Path and labels of a line."""
    if "\t" in line:
        path, *labels = (part.strip(BLANK) for part in line.split("\t"))
        return path, labels if any(labels) else []
    numbers = re.search(rf"(?:[{BLANK}]+[0-9]{{1,9}})+$", line)
    if numbers is None:
        path, _, label = line.rpartition(" ")
        # A name may hold a blank: it is one where the file is there, or where only the whole line ends like a video.
        is_whole = is_video_name(os.path.basename(line)) and not is_video_name(os.path.basename(path.rstrip(BLANK)))
        return (path.rstrip(BLANK), [label]) if path and not is_whole and not _is_there(file, line) else (line, [])
    path, labels = line[: numbers.start()], numbers[0].split()
    if os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:
        return path, labels
    # A folder of frames: its name may end in numbers, too.
    ends = [numbers.start() + match.start() for match in re.finditer(rf"[{BLANK}]+[0-9]+", numbers[0])]
    there = [end for end in [*ends, len(line)] if _is_there(file, line[:end])]
    if len(there) > 1:
        raise RowFault(
            f"{shorten(line)} may be {line[: there[0]]!r} or {line[: there[1]]!r}; put a tab behind the path"
        )
    end = there[0] if there else numbers.start()
    return line[:end], line[end:].split()


def _is_there(file: ListFile, path: str) -> bool:
    try:
        return (file.base / path).exists()
    except (OSError, ValueError):
        return False
