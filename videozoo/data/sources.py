"""Loading of labeled videos from folders, lists and shards, with all checks that need no decoding."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from videozoo.data.formats.detect_format import detect_format, detect_multi_label

from .comments import warn_comments
from .files import make_records
from .formats import DATA_FORMATS, MULTI_LABEL_READERS, READERS, SPLIT_FORMATS
from .formats.class_folders import load_class_folders
from .labels import check_names, number_labels, number_several, read_names
from .list_errors import Problems, SourceError
from .list_text import expand_home
from .lists import Checks, ListFile, Listing
from .metadata import enter_metadata
from .pairs import WHERE, Pair, is_pairs, open_pairs, read_pairs
from .records import VIDEO_EXTENSIONS, VideoSource
from .shards import is_shards, load_shards


def load_source(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sequence[Pair],
    *,
    data_root: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
    names_file: str | os.PathLike[str] | None = None,
    data_format: str | None = None,
    split: str | None = None,
    check_files: bool = True,
    multi_label: bool = False,
    needs_labels: bool = True,
) -> VideoSource:
    """List labeled videos with their classes and check all that can be checked without decoding.

    ``data`` is a folder of class folders, a folder with Hugging Face's ``metadata.csv`` or ``metadata.jsonl``, a list,
    or tar shards. ``docs/data.md`` shows each format. The format is detected from the content. Labels are either all
    class indices or all class names. Classes are numbered by ``class_names``, else by the data set's own file of
    classes, else by ``classes.txt`` (a name per line) beside a list of indices, else by the natural order of the names.

    Args:
        data: the folder or list, or the shards as a pattern (``"shards/{000000..000099}.tar"``, ``"shards/*.tar"``) or
            a list of files, or a list of (path, label) with class names or indices.
        data_root: folder that paths in a list are relative to, instead of the list's own folder (for a list in Python,
            the working directory). Not used for class folders and shards.
        class_names: the classes, if they are known already (from the training set or a trained model).
        names_file: class names, one per line, for the indices of a list, in place of a ``classes.txt`` beside it. They
            are also the classes if ``class_names`` is None.
        data_format: one of ``DATA_FORMATS``. None detects it.
        split: split of a Kinetics csv (``train``, ``val``, ``test``), or of the folder of UCF101's or HMDB51's lists
            (``train1`` to ``test3``).
        check_files: check that each file exists and is not empty. Without it, records may name files that do not exist.
        multi_label: a video may have any number of classes (``a.mp4 0 3``, or ``jump|run`` in a csv), or none.
        needs_labels: refuse a list without labels. Without it, the records of such a list have label -1, and there are
            no classes.
    Returns:
        the records in the order listed, and the class names.
    Raises:
        SourceError: an unknown or ambiguous format, missing files, unknown classes, indices out of range, duplicates,
            names mixed with indices, wrong numbers of columns, or an empty list. The message has the first 20 problems
            with line numbers, and the number of the others.
    Example:
        >>> from videozoo import load_source
        >>> source = load_source("videos")
        >>> len(source.records), source.class_names[:3]
        (18, ('falling', 'growing', 'moving_apart'))
        >>> load_source([("clip.mp4", "jump")]).records[0].label
        0
    """
    if class_names is not None:
        class_names = check_names(class_names, "class_names")
    given = None if names_file is None else read_names(names_file)
    if given is not None and class_names is None:
        class_names = given.names
    checks = Checks(check_files=check_files, multi_label=multi_label, needs_labels=needs_labels, vocabulary=given)
    data_root = None if data_root is None else expand_home(data_root)
    if is_pairs(data):
        if data_format is not None or split is not None:
            raise SourceError(f"{WHERE}: has neither a data_format nor a split; leave them out.")
        file = open_pairs(data_root, checks)
        return _make_source(file, read_pairs(file, data), "", class_names)
    if not isinstance(data, str | os.PathLike | Sequence):
        raise SourceError(f"data is {data!r}; pass a folder of class folders, a list, a csv or shards.")
    paths = cast("str | os.PathLike[str] | Sequence[str | os.PathLike[str]]", data)
    paths = expand_home(paths) if isinstance(paths, str | os.PathLike) else [expand_home(item) for item in paths]
    try:
        return _load(paths, data_root, class_names, data_format, split, checks)
    except OSError as err:
        raise SourceError(f"{err.filename or paths}: cannot be read ({err.strerror or err}).") from err


def _load(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    data_root: str | os.PathLike[str] | None,
    class_names: Sequence[str] | None,
    data_format: str | None,
    split: str | None,
    checks: Checks,
) -> VideoSource:
    if data_format is not None and data_format not in DATA_FORMATS:
        raise SourceError(f"data_format is {data_format!r}; choose from {', '.join(DATA_FORMATS)}.")
    if data_format == "shards" or (data_format is None and is_shards(data)):
        _refuse_split(split, "shards", data)
        if checks["multi_label"]:
            raise SourceError(f"{data}: shards hold one class a video; several labels a video are in a list or a csv.")
        return load_shards(data, class_names=class_names)
    if not isinstance(data, str | os.PathLike):
        raise SourceError(f"{data!r}: several files can only be shards (.tar); pass one list or folder.")
    file = _open_list(Path(data), data_root, split, checks)
    if file.path.is_dir() and data_format in (None, "csv", "jsonl"):
        file = enter_metadata(file)
    kind = detect_multi_label(file, data_format) if file.multi_label else data_format or detect_format(file)
    if kind not in SPLIT_FORMATS:
        _refuse_split(split, kind, data)
    if kind == "class_folders":
        if not file.path.is_dir():
            raise SourceError(f"{file.path}: a file, not a folder of class folders.")
        return load_class_folders(replace(file, base=file.path), class_names)
    return _load_list(file, kind, class_names)


def _open_list(path: Path, data_root: str | os.PathLike[str] | None, split: str | None, checks: Checks) -> ListFile:
    known = "a folder of class folders, a list, a csv or shards"
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as err:
        raise SourceError(f"{str(path)!r}: cannot be read ({getattr(err, 'strerror', None) or err}).") from err
    if not is_folder and not is_file:
        raise SourceError(f"{path}: no such file or folder; pass {known}.")
    if is_file and path.suffix.lower() in VIDEO_EXTENSIONS:
        raise SourceError(f"{path}: a video, not a list; pass {known}.")
    base = Path(data_root) if data_root is not None else path if is_folder else path.parent
    if not base.is_dir():
        raise SourceError(f"{base}: no such folder; data_root is the folder that the paths in {path.name} start from.")
    return ListFile(path, base, split, Problems(path), **checks)


def _load_list(file: ListFile, kind: str, class_names: Sequence[str] | None) -> VideoSource:
    if file.path.is_dir() and kind not in ("ucf101", "hmdb51"):
        raise SourceError(f"{file.path}: a folder, not a list; data_format={kind!r} reads a file.")
    return _make_source(file, (MULTI_LABEL_READERS if file.multi_label else READERS)[kind](file), kind, class_names)


def _make_source(file: ListFile, listing: Listing, kind: str, class_names: Sequence[str] | None) -> VideoSource:
    if file.within:
        listing = listing._replace(rows=[row for row in listing.rows if Path(row.path).parts[:1] == (file.within,)])
    if not listing.rows and not file.problems.found:
        raise SourceError(f"{file.path}: nothing is listed; write one 'path label' a line.")
    labels: list[int] | list[tuple[int, ...]]
    if file.multi_label:
        labels, names, warnings = number_several(file, listing, class_names)
    else:
        listing = _settle_labels(file, listing)
        labels, names, warnings = [-1] * len(listing.rows), tuple(class_names or ()), []
        if file.needs_labels or any(row.label for row in listing.rows):
            labels, names, warnings = number_labels(file, listing, class_names)
    records = make_records(file, listing, labels)
    hint = f" (read as {kind}; another data_format?)" if kind else ""
    file.problems.hint = f"{hint}{file.problems.hint}"
    file.problems.raise_if_any()
    warnings += [*file.problems.warnings, *warn_comments(file.path, file.comments.items())]
    return VideoSource(tuple(records), names, kind, tuple(warnings), file.multi_label)


def _settle_labels(file: ListFile, listing: Listing) -> Listing:
    """Return the rows that can be numbered. Those without a label are problems, unless all may lack one."""
    labeled = [row for row in listing.rows if row.label]
    if not labeled and not file.needs_labels:
        return listing
    if not labeled and listing.rows:
        file.problems.hint = ". No video has a label; write 'path label' a line, or a csv with the columns path,label"
    for row in listing.rows:
        if not row.label:
            file.problems.add(row.place, f"{row.path} has no label")
    return listing._replace(rows=labeled)


def _refuse_split(split: str | None, kind: str, data: object) -> None:
    if split is not None:
        raise SourceError(f"{data}: split is {split!r}, but {kind} holds one; it is for {', '.join(SPLIT_FORMATS)}.")
