"""Where labelled videos come from: folders of class folders, lists, csv; all checked before training starts."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .image_folder import is_image_name, natural_key
from .lists import Problems, Row, SourceError, read_rows, read_text, split_lines

VIDEO_EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "m2ts", "mts", "vob", "wmv", "asf"),
        *("flv", "f4v", "3gp", "3g2", "ogv", "ogg", "gif", "y4m", "mxf", "divx", "mjpeg"),
    )
)
# Above this a class index is a slip of the pen, not a class.
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class VideoRecord:
    """One labelled video.

    Args:
        path: the file, or the folder of its frames.
        label: class index; -1 where unknown.
        source: where it is listed, such as ``train.txt:12``, for errors.
        name: its path relative to the list, the data root or the class folders' root, with ``/``; the same wherever the
            data lies.
        span_sec: the part [start, end) of the file that is the video, in seconds; None: all of it.
        frame_range: the half-open range of its frames, or of the folder's images; None: all of them.
        member: (offset, size) in bytes of the file inside the tar shard ``path``; None: ``path`` is the file.
    """

    path: Path
    label: int
    source: str
    name: str = ""
    span_sec: tuple[float, float] | None = None
    frame_range: tuple[int, int] | None = None
    member: tuple[int, int] | None = None


@dataclass(frozen=True)
class VideoSource:
    """Labelled videos and the names of their classes.

    Args:
        records: the videos in the order listed.
        class_names: name of each label.
    """

    records: tuple[VideoRecord, ...]
    class_names: tuple[str, ...]


def load_source(
    data: str | os.PathLike[str],
    *,
    data_root: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> VideoSource:
    """Find labelled videos and check all that can be checked without decoding.

    - A folder ``root/class_name/video.mp4``: classes in natural order of their folders. A folder of images inside a
      class folder is one video. Hidden files and files of other kinds are passed over.
    - A list of ``path label`` lines, or a csv with the columns path and label. Labels are either all class indices or
      all class names. Indices are named by ``class_names``, else by ``classes.txt`` (a name a line) beside the list,
      else by themselves; names are numbered as in ``class_names``, else in natural order.

    Args:
        data: the folder, list or csv.
        data_root: folder that paths in a list are relative to, instead of the list's own; not used for a folder.
        class_names: the classes, where they are settled already (by the training set, by a trained network).
    Raises:
        SourceError: missing or empty files, unknown classes, indices out of range, duplicates, names mixed with
            indices, wrong numbers of columns, nothing listed; the first 20 problems, with line numbers, and the number
            of the rest.
    """
    path = Path(data)
    if class_names is not None:
        _check_names(class_names, "class_names")
    if path.is_dir():
        return _load_folder(path, class_names)
    if not path.is_file():
        raise SourceError(f"{path}: no such file or folder; pass a folder of class folders, a list or a csv.")
    if path.suffix.lower() in VIDEO_EXTENSIONS:
        raise SourceError(f"{path}: a video, not a list; pass a folder of class folders, a list or a csv.")
    base = path.parent if data_root is None else Path(data_root)
    if not base.is_dir():
        raise SourceError(f"{base}: no such folder; data_root is the folder that the paths in {path.name} start from.")
    return _load_list(path, base, class_names)


def split_by_hash(source: VideoSource, val_frac: float = 0.2) -> tuple[VideoSource, VideoSource]:
    """Split into training and validation by the SHA-256 of each video's relative path, class by class.

    The same files give the same split in any order, on any machine. Of a class with n >= 2 videos the
    ``round(n * val_frac)`` of lowest hash validate, at least one and at most n - 1; a single video trains. Videos that
    belong together (one person, one recording) are not kept together: list them by hand for that.

    Args:
        source: what ``load_source`` gives.
        val_frac: fraction for validation, in (0, 1).
    Returns:
        training and validation sources, with all class names each.
    Raises:
        ValueError: ``val_frac`` is out of range.
        SourceError: no class has two videos.
    """
    if not 0 < val_frac < 1:
        raise ValueError(f"split_by_hash: val_frac is {val_frac}, must lie between 0 and 1.")
    by_label: dict[int, list[VideoRecord]] = defaultdict(list)
    for record in source.records:
        by_label[record.label].append(record)
    chosen: set[VideoRecord] = set()
    for records in by_label.values():
        count = min(max(round(len(records) * val_frac), 1), len(records) - 1)
        chosen.update(sorted(records, key=_hash_key)[:count])
    if not chosen:
        raise SourceError("split_by_hash: no class has two videos; add videos, or pass a validation set.")
    train = tuple(record for record in source.records if record not in chosen)
    val = tuple(record for record in source.records if record in chosen)
    return replace(source, records=train), replace(source, records=val)


def _hash_key(record: VideoRecord) -> tuple[str, str]:
    name = record.name or record.path.as_posix()
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest(), name


def _check_names(names: Sequence[str], where: str) -> None:
    if isinstance(names, str) or not names:
        raise SourceError(f"{where}: got {names!r}, needs at least one class name.")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SourceError(f"{where}:{number}: an empty class name.")
        if name in seen:
            raise SourceError(f"{where}:{number}: class {name!r} again (first at {seen[name]}); names must differ.")
        seen[name] = number


# Folders of class folders


def _load_folder(root: Path, class_names: Sequence[str] | None) -> VideoSource:
    problems = Problems(root)
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if not folders:
        raise SourceError(f"{root}: no class folders; put videos as {root.name}/CLASS/VIDEO.mp4, or pass a list.")
    names = tuple(class_names or (folder.name for folder in folders))
    labels = {name: label for label, name in enumerate(names)}
    records: list[VideoRecord] = []
    for folder in folders:
        if folder.name not in labels:
            problems.add(folder.name, f"unknown class; known are {_some(names)}")
            continue
        paths = _class_videos(folder, problems)
        for path in paths:
            name = f"{folder.name}/{path.name}"
            records.append(VideoRecord(path, labels[folder.name], f"{root.name}/{name}", name))
    problems.raise_if_any()
    return VideoSource(tuple(records), names)


def _class_videos(folder: Path, problems: Problems) -> list[Path]:
    """Videos right inside a class folder; files that cannot be videos are noted as problems."""
    videos, nested, has_images = [], None, False
    for path in _entries(folder):
        if path.is_dir():
            inside = [entry.name for entry in os.scandir(path)]
            if any(map(is_image_name, inside)):
                videos.append(path)
            elif any(_is_video_name(name) for name in inside):
                nested = path
        elif _is_video_name(path.name):
            videos.append(path)
            trouble = _trouble_with(path)
            if trouble:
                problems.add(f"{folder.name}/{path.name}", trouble)
        has_images = has_images or is_image_name(path.name)
    if nested is not None:
        hint = "" if videos else f"; pass {folder} if its folders are the classes"
        problems.add(f"{folder.name}/{nested.name}", f"videos one folder too deep{hint}")
    elif not videos:
        hint = "; put the frames of each video in a folder of their own" if has_images else ""
        problems.add(folder.name, f"class folder without videos{hint}")
    return videos


def _entries(folder: Path) -> list[Path]:
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(entries, key=lambda path: (natural_key(path.name), path.name))


def _is_video_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


# Lists


def _load_list(path: Path, base: Path, class_names: Sequence[str] | None) -> VideoSource:
    problems = Problems(path)
    rows = read_rows(path, problems)
    if not rows and not problems.found:
        raise SourceError(f"{path}: nothing is listed; write one 'path label' a line.")
    labels, names = _number_labels(rows, path, class_names, problems)
    records: list[VideoRecord] = []
    seen: dict[str, str] = {}
    for row, label in zip(rows, labels, strict=True):
        video = base / row.path
        # A name must not depend on where the data lies, nor on ./ and doubled slashes.
        is_inside = video.is_relative_to(base)
        name = Path(os.path.normpath(video.relative_to(base) if is_inside else video)).as_posix()
        first = seen.setdefault(os.path.abspath(video), row.place)
        trouble = _trouble_with(video)
        if first != row.place:
            problems.add(row.place, f"{row.path} is listed again (first at {first})")
        elif trouble:
            problems.add(row.place, f"{trouble}: {video}{_hint_columns(base, row)}")
        records.append(VideoRecord(video, label, row.place, name))
    problems.raise_if_any()
    return VideoSource(tuple(records), names)


def _number_labels(
    rows: list[Row], path: Path, class_names: Sequence[str] | None, problems: Problems
) -> tuple[list[int], tuple[str, ...]]:
    """Class index of each row (-1 where it has none) and the class names."""
    are_indices = bool(rows) and _is_index(rows[0].label)
    fitting = []
    for row in rows:
        if _is_index(row.label) == are_indices:
            fitting.append(row)
        else:
            kind, other = ("name", "an index") if are_indices else ("index", "a name")
            problems.add(row.place, f"label {row.label!r} is a class {kind}, the first ({rows[0].place}) is {other}")
    if are_indices:
        return _check_indices(rows, fitting, path, class_names, problems)
    names = tuple(class_names or sorted({row.label for row in fitting}, key=lambda name: (natural_key(name), name)))
    numbers = {name: label for label, name in enumerate(names)}
    for row in fitting:
        if row.label not in numbers:
            problems.add(row.place, f"unknown class {row.label!r}; known are {_some(names)}")
    return [numbers.get(row.label, -1) for row in rows], names


def _check_indices(
    rows: list[Row], fitting: list[Row], path: Path, class_names: Sequence[str] | None, problems: Problems
) -> tuple[list[int], tuple[str, ...]]:
    names = tuple(class_names) if class_names is not None else _classes_beside(path)
    limit = MAX_CLASSES if names is None else len(names)
    for row in fitting:
        if not 0 <= int(row.label) < limit:
            problems.add(row.place, f"class index {row.label} is out of range; must be 0 to {limit - 1}")
    labels = [int(row.label) if _is_index(row.label) and 0 <= int(row.label) < limit else -1 for row in rows]
    return labels, names or tuple(str(label) for label in range(max(labels, default=-1) + 1))


def _classes_beside(path: Path) -> tuple[str, ...] | None:
    file = path.parent / "classes.txt"
    if not file.is_file() or file.samefile(path):
        return None
    names = [line.strip() for line in split_lines(read_text(file).rstrip())]
    _check_names(names, str(file))
    return tuple(names)


def _is_index(label: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,18}", label) is not None


def _trouble_with(path: Path) -> str | None:
    """Why a path cannot be a video, as far as can be told without opening it."""
    try:
        if path.is_dir():
            has_images = any(is_image_name(entry.name) for entry in os.scandir(path))
            return None if has_images else "a folder without images"
        return "empty file (0 bytes)" if path.stat().st_size == 0 else None
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as err:
        return f"cannot be read ({getattr(err, 'strerror', None) or err})"


def _hint_columns(base: Path, row: Row) -> str:
    """A word on lists of three columns, whose middle one (the number of frames) has ended up in the path."""
    fields = row.path.rsplit(None, 1)
    is_three = len(fields) == 2 and fields[1].isdigit() and os.path.exists(base / fields[0])
    return " (three columns? write path and label only)" if is_three else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
