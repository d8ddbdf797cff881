"""Labeled videos for the commands: splits of a folder, and both sources of a training.

Heavy imports inside.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import UsageError
from videozoo.text import count_of, some

from .run_log import note, warn

if TYPE_CHECKING:
    from videozoo.data import VideoSource

# The path of a folder or list, or a list of (path, label) in Python.
Data = str | Path | Sequence[Any]
TRAIN_FOLDERS = ("train", "training")
VAL_FOLDERS = ("val", "valid", "validation")
TEST_FOLDERS = ("test", "testing")


def find_split(data: Data, names: Sequence[str]) -> Path | None:
    """Return the sub-folder train (or val) of a folder that has both, else None."""
    if not isinstance(data, str | Path):
        return None
    has_both = all(_sub_folder(data, group) for group in (TRAIN_FOLDERS, VAL_FOLDERS))
    return _sub_folder(data, names) if has_both else None


def find_parts(data: str) -> list[Path]:
    """Return the sub-folders train, val and test of a folder that has the first and another one.

    Else none.
    """
    from videozoo.data.metadata import find_metadata

    folders = [_sub_folder(Path(data), names) for names in (TRAIN_FOLDERS, VAL_FOLDERS, TEST_FOLDERS)]
    found = [folder for folder in folders if folder is not None]
    # A class may be called train.
    has_classes = folders[0] is not None and any(entry.is_dir() for entry in folders[0].iterdir())
    is_listed = folders[0] is not None and bool(find_metadata(folders[0]) or find_metadata(folders[0].parent))
    return found if len(found) > 1 and (has_classes or is_listed) else []


def describe_data(data: Data) -> str:
    """Return what data are called in a message: their path, or how many videos a list in Python has."""
    return str(data) if isinstance(data, str | Path) else f"a list of {len(data)} videos"


def _sub_folder(data: str | Path, names: Sequence[str]) -> Path | None:
    from videozoo.data.list_text import expand_home

    home = Path(expand_home(data))
    return next((home / name for name in names if (home / name).is_dir()), None)


def load_train_and_val(
    data: Data,
    val: Data | None,
    *,
    data_root: str | None,
    names_file: str | None,
    val_frac: float,
    val_group: str | None = None,
    data_format: str | None = None,
    splits: tuple[str | None, str | None] = (None, None),
    multi_label: bool = False,
) -> "tuple[VideoSource, VideoSource]":
    """Return both sources, with the same classes: given, found as train/ and val/ in ``data``, or split by hash.

    Args:
        val_group: keeps videos of one group on one side, see `split_by_hash`.
        splits: the parts to train and to validate on, where one file lists several.
        multi_label: a video may have several classes, or none.
    Raises:
        SourceError: a list or folder that is not fit for training.
        UsageError: a single class, or of multi-label videos none that has a class on either side.
    """
    from videozoo.data import load_source

    split, val_split = splits
    train_folder = find_split(data, TRAIN_FOLDERS)
    if train_folder is not None:
        data, val = str(train_folder), str(find_split(data, VAL_FOLDERS)) if val is None else val
        note(f"training on {data}, validating on {val}")
    where: dict[str, Any] = {"data_root": data_root, "data_format": data_format, "multi_label": multi_label}
    where["names_file"] = names_file
    train_source = load_source(data, split=split, **where)
    if val is None and val_split is None:
        train_source, val_source = _split(train_source, val_frac, val_group)
    else:
        val_source = load_source(
            data if val is None else val, class_names=train_source.class_names, split=val_split, **where
        )
    _check_classes(describe_data(data), train_source, val_source)
    return train_source, val_source


def _split(source: "VideoSource", val_frac: float, val_group: str | None) -> "tuple[VideoSource, VideoSource]":
    """Split by hash, log the split, and log if names suggest a better one."""
    from videozoo.data import SourceError, split_by_hash
    from videozoo.data.name_groups import find_groups, hint_groups

    try:
        train, val = split_by_hash(source, val_frac, val_group)
    except SourceError as error:
        if val_group is None:
            raise
        raise UsageError(str(error).replace("val_group", "finetune: --val-group", 1)) from error
    kept = f"no --val: {len(val.records)} of the videos are kept for validation"
    if val_group is None:
        note(f"{kept} (by hash of their names)")
        if hint := hint_groups(train, val):
            note(f"hint: {hint}")
        return train, val
    groups = dict(zip(source.records, find_groups(source.records, val_group), strict=True))
    own = sorted({group for record in val.records if (group := groups[record])})
    note(f"{kept}, {len(own)} of {len(set(groups.values()) - {None})} groups by --val-group: {some(own)}")
    others = [record.name for record, group in groups.items() if group is None]
    if others:
        warn(f"--val-group does not match {count_of(others, 'name')}, split one by one: {some(others, 4)}")
    return train, val


def _check_classes(data: str, train: "VideoSource", val: "VideoSource") -> None:
    """Require two classes. Other oddities, in the two sources and between them, are logged."""
    from videozoo.data import check_splits

    names = train.class_names
    if train.multi_label and not names:
        raise UsageError(f"{data}: no video has a class.")
    if train.multi_label and not any(record.classes for record in val.records):
        raise UsageError(
            f"{data}: no validation video has a class, so mAP cannot be measured; give some that have one."
        )
    if len(names) < 2 and not train.multi_label:
        raise UsageError(f"{data}: one class ({', '.join(names)}); training needs two or more.")
    warnings = [*train.warnings, *(text for text in val.warnings if text not in train.warnings)]
    found = [{label for record in source.records for label in record.classes} for source in (train, val)]
    for seen, what in zip(found, ("training", "validation"), strict=True):
        # The sources warn about classes without any video.
        lacking = [name for label, name in enumerate(names) if label not in seen and label in set.union(*found)]
        if lacking:
            warnings.append(f"no {what} video of {some(lacking, 5)}")
    for text in [*warnings, *check_splits(train, val)]:
        warn(text)
