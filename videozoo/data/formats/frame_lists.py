"""Lists of folders of frames: three or four columns.

- ``path frames label``: TSN's, TRN's and TSM's lists (``ops/dataset.py`` there) and MMAction2's rawframe lists
  (``mmaction/datasets/rawframe_dataset.py``).
- ``path offset frames label``: MMAction2's rawframe lists ``with_offset``. The offset counts from the first frame.
- ``path start end label``: the first and the last frame by the numbers in their names, both counted.
"""

from functools import lru_cache

from videozoo.data.list_errors import RowFault
from videozoo.data.multi_label_checks import check_counts, fault_of_count
from videozoo.names import shorten

from ..files import FrameFolder, look_into
from ..list_text import split_columns
from ..lists import ListFile, Listing, Row

COLUMNS = {
    "frame_list": ("path", "frames", "label"),
    "offset_list": ("path", "offset", "frames", "label"),
    "range_list": ("path", "start", "end", "label"),
}


def read_frame_list(file: ListFile) -> Listing:
    """Return the rows of ``path frames label``.

    More images than listed are left out, fewer are a problem.

    A path may also be a video file, as decoders made of TSM's lists. All of it is the video. A number of frames that is
    off by more than a factor of two is a problem: it may be the first of several labels.
    """
    return _read(file, "frame_list")


def read_offset_list(file: ListFile) -> Listing:
    """Return the rows of ``path offset frames label``."""
    return _read(file, "offset_list")


def read_range_list(file: ListFile) -> Listing:
    """Return the rows of ``path start end label``."""
    return _read(file, "range_list")


def split_fields(line: str, num_columns: int) -> list[str] | None:
    """Fields from the right, as the path may hold spaces.

    None unless all but the path are whole numbers.
    """
    fields = split_columns(line, num_columns)
    is_fine = len(fields) == num_columns and all(_is_count(part) for part in fields[1:]) and bool(fields[0])
    return fields if is_fine else None


def frame_range(data_format: str, numbers: tuple[int, ...], folder: FrameFolder) -> tuple[tuple[int, int], str]:
    """Half-open range of a folder's images that a row means, and what is wrong with it (empty if nothing)."""
    if data_format == "frame_list":
        start, end = 0, numbers[0]
    elif data_format == "offset_list":
        start, end = numbers[0], numbers[0] + numbers[1]
    else:
        start, end = numbers[0] - folder.first, numbers[1] - folder.first + 1
    chosen = (start + folder.skipped, end + folder.skipped)
    if len(folder.kinds) > 1:
        return chosen, f"images of several kinds ({', '.join(folder.kinds[:4])}) in"
    if not 0 <= start < end:
        return chosen, "no frame of"
    if end > folder.num_frames:
        return chosen, f"frame {end} of the {folder.num_frames} in"
    return chosen, ""


def _read(file: ListFile, data_format: str) -> Listing:
    names = COLUMNS[data_format]
    look = lru_cache(maxsize=None)(look_into)
    of_files: list[tuple[str, str, int]] = []

    def make(place: str, line: str) -> Row:
        fields = split_fields(line, len(names))
        if fields is None:
            raise RowFault(f"{shorten(line)} must be {len(names)} columns: {', '.join(names)}")
        path, label, numbers = fields[0], fields[-1], tuple(int(part) for part in fields[1:-1])
        folder = look(str(file.base / path))
        if folder is None or folder.num_frames == 0:
            # Not there, or a video file. Of a part of a file, frames are counted as in a folder that starts with 1.
            if data_format == "frame_list":
                of_files.append((place, path, numbers[0]))
                return Row(place, path, label)
            folder = FrameFolder(2**62, 1)
        chosen, trouble = frame_range(data_format, numbers, folder)
        if not trouble and data_format == "frame_list" and 2 * numbers[0] < folder.num_frames:
            raise RowFault(fault_of_count(numbers[0], folder.num_frames, path))
        if trouble and (file.check_files or not 0 <= chosen[0] < chosen[1]):
            said = ", ".join(f"{name} {number}" for name, number in zip(names[1:], numbers, strict=False))
            raise RowFault(f"{said} would be {trouble} {path}")
        is_whole = chosen == (0, folder.num_frames) and folder.skipped == 0
        return Row(place, path, label, frame_range=None if is_whole else chosen)

    rows = file.rows(file.lines(), make)
    for place, fault in check_counts(of_files, file.base):
        file.problems.add(place, fault)
    return Listing(rows)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
