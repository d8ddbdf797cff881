"""The files that lists name: whether they are there, without opening them."""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from videozoo.text import some
from videozoo.video.image_folder import is_folder, is_image_name, natural_key

from .list_errors import SEVERAL_LABELS
from .lists import ListFile, Listing, Row
from .records import VIDEO_EXTENSIONS, VideoRecord

EMPTY = "empty (0 bytes)"


class FrameFolder(NamedTuple):
    """The frames of a folder: how many, the number in the name of the first, how many other images sort before them.

    ``kinds`` are the different forms of their names. More than one means that they are not one video.
    """

    num_frames: int
    first: int
    skipped: int = 0
    kinds: tuple[str, ...] = ()


def is_video_name(name: str) -> bool:
    """Return whether a file of this name counts as a video."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


def find_videos(folder: Path) -> list[Path]:
    """Return the video files in a folder, at any depth and in natural order.

    Hidden ones are left out.
    """
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(here, name) for name in names if is_video_name(name)]
    return sorted(found, key=lambda path: (natural_key(os.fspath(path)), os.fspath(path)))


def trouble_with(path: str | os.PathLike[str]) -> str | None:
    """Return why a path cannot be a video, without opening it: one stat, and a look into a folder."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path) as entries:
                return None if any(is_image_name(entry.name) for entry in entries) else "a folder without images"
        return EMPTY if stat.S_ISREG(status.st_mode) and not status.st_size else None
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as err:
        return f"cannot be read ({getattr(err, 'strerror', None) or err})"


def look_into(folder: str) -> FrameFolder | None:
    """Return the frames of a folder without optical flow, or None if it is no folder or cannot be listed."""
    try:
        names = [name for name in os.listdir(folder) if is_image_name(name)]
    except (OSError, ValueError):
        return None
    kinds = {_kind(name) for name in names}
    skipped = 0
    if len(kinds) > 1:
        # MMAction2 keeps img_00001.jpg beside flow_x_00001.jpg; images are read in natural order, so count what comes
        # before.
        names.sort(key=lambda name: (natural_key(name), name))
        frames = [name for name in names if not name.startswith("flow")]
        kinds = {_kind(name) for name in frames}
        skipped = names.index(frames[0]) if frames else 0
        names = frames
    number = re.search(r"([0-9]{1,9})\.[^.]*$", min(names, key=natural_key, default=""))
    return FrameFolder(len(names), int(number[1]) if number else 0, skipped, tuple(sorted(kinds)))


def _kind(name: str) -> str:
    return re.sub(r"[0-9]+(?=\.[^.]*$)", "#", name)


def videos_by_stem(base: Path, folders: Sequence[str]) -> dict[str, list[str]]:
    """Videos and folders right inside some folders, by name without ending: one look per folder, not one per video.

    Args:
        base: the folder that the others, and the paths found, are relative to.
        folders: names of folders in it, ``""`` for itself. Those that are not there are passed over.
    """
    found: dict[str, list[str]] = {}
    for folder in folders:
        try:
            with os.scandir(base / folder) as entries:
                for entry in entries:
                    name = entry.name
                    stem, ending = os.path.splitext(name)
                    is_video = ending.lower() in VIDEO_EXTENSIONS
                    if not name.startswith(".") and (is_video or is_folder(entry)):
                        found.setdefault(stem if is_video else name, []).append(os.path.join(folder, name))
        except OSError:
            continue
    for paths in found.values():
        if len(paths) > 1:
            # Files before folders: of a video and its frames the video is taken.
            paths.sort(key=lambda path: (not is_video_name(os.path.basename(path)), path))
    return found


class VideoFinder:
    """Finder of a data set's videos by their names without extension.

    Args:
        base, folders: as for ``videos_by_stem``.
        ending: of the file that an error asks for.
    """

    def __init__(self, base: Path, folders: Sequence[str], ending: str) -> None:
        self._places = " or ".join(str(base / name) for name in folders if (base / name).is_dir())
        self._found = videos_by_stem(base, folders)
        self._ending = ending

    def __call__(self, name: str) -> tuple[str, str]:
        """Path from the base, and what is wrong (empty if nothing)."""
        found = self._found.get(name)
        if found is None:
            return name + self._ending, f"no {name}{self._ending} in {self._places}"
        return found[0], ""


def subfolders(base: Path, folder: str) -> list[str]:
    """Folders inside a folder of the base, relative to the base, in order of their names.

    Hidden ones left out.
    """
    try:
        with os.scandir(base / folder) as entries:
            names = sorted(entry.name for entry in entries if is_folder(entry) and not entry.name.startswith("."))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names]


def make_records(file: ListFile, listing: Listing, labels: Sequence[int | tuple[int, ...]]) -> list[VideoRecord]:
    """Records of the rows.

    Missing files and rows that come twice are noted as problems, empty files as a warning.

    Where files are not checked, a row that comes twice is left out, with a warning.

    Args:
        file: the list.
        listing: its rows.
        labels: class index of each row. All its class indices in a multi-label list.
    """
    base = os.fspath(file.base)
    absolute = os.path.abspath(base)
    seen: dict[tuple[str, object, object], tuple[str, int | tuple[int, ...]]] = {}
    known: dict[str, str] = {}
    records = []
    num_missing = num_doubled = 0
    doubled, empty = [], []
    for row, label in zip(listing.rows, labels, strict=True):
        path = os.path.join(base, row.path)
        key = os.path.normpath(os.path.join(absolute, row.path))
        # A name must not depend on where the data lies, nor on ./ and doubled slashes.
        name = key.removeprefix(absolute + os.sep) if os.path.isabs(row.path) else os.path.normpath(row.path)
        first, first_label = seen.setdefault((key, row.span_sec, row.frame_range), (row.place, label))
        if first != row.place:
            other = "" if label == first_label else f" with another label; {SEVERAL_LABELS}"
            if other and isinstance(label, tuple):
                other = " with other labels; list it once, with all of them"
            what = f"is listed again (first at {first}){other}"
            if not file.check_files and not other:
                doubled.append(f"{row.place} {what}")
                continue
            file.problems.add(row.place, f"{row.path} {what}")
            num_doubled += not other  # which of two labels is right nothing can tell
        elif file.check_files:
            if key not in known:
                trouble = None if row.trouble else trouble_with(path)
                if trouble == EMPTY:  # for the reader to refuse, as any other broken file
                    empty.append(row.place)
                    trouble = None
                known[key] = (
                    f"{trouble}: {path}{_hint_columns(base, row, file.multi_label)}" if trouble else row.trouble
                )
            if known[key]:
                num_missing += 1
                file.problems.add(row.place, known[key])
        one, several = (-1, label) if isinstance(label, tuple) else (label, None)
        name = name.replace(os.sep, "/")
        records.append(VideoRecord(Path(path), one, row.place, name, row.span_sec, row.frame_range, labels=several))
    if num_missing == len(records) > 1:
        file.problems.hint = f". None of the videos is there; is {base} the folder that they start from (data root)?"
    elif num_missing or num_doubled:
        file.problems.hint = ". 'videozoo check-data' writes a list of those that can be read, each once"
    if doubled:
        file.problems.warnings.append(f"{file.path}: {len(doubled)} left out: {'; '.join(doubled[:4])}")
    if empty:
        file.problems.warnings.append(f"{file.path}: {len(empty)} {EMPTY}: {some(empty, 4)}")
    return records


def _hint_columns(base: str, row: Row, multi_label: bool) -> str:
    """Return a word on columns that have ended up in the path: a number of frames, or more labels."""
    if not row.path.isascii() and re.search("[\ud800-\udfff]", row.path):
        return " (the list is not UTF-8 text there; save it as UTF-8 if the name is not of these bytes)"
    fields = row.path.split()
    for count in range(1, min(len(fields), 20)):
        path = row.path.rsplit(None, count)[0]
        if os.path.exists(os.path.join(base, path)):
            if multi_label:
                return " (join names of classes by |; where they hold blanks, put a tab behind the path)"
            return f" (more than two columns? write path and label only; {SEVERAL_LABELS})"
    return ""
