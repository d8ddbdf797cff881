"""``root/class_name/video.mp4``: a folder of class folders."""

import os
from collections.abc import Sequence
from pathlib import Path

from videozoo.data.list_errors import SourceError
from videozoo.names import clean_name, find_name_fault, shorten
from videozoo.text import some
from videozoo.video.image_folder import is_image_name, natural_key

from ..files import is_video_name, make_records
from ..labels import warn_alike
from ..lists import ListFile, Listing, Row
from ..records import VideoSource


def load_class_folders(file: ListFile, class_names: Sequence[str] | None) -> VideoSource:
    """Videos in class folders.

    Classes in natural order of their folders unless given.

    A folder of images inside a class folder is one video. Where files are not checked, folders without videos are left
    out, with a warning. Hidden files are passed over. A warning names what else is no video by its ending.

    Raises:
        SourceError: no class folders, unknown classes, empty folders, videos one folder too deep.
    """
    root, problems = file.path, file.problems
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if not folders:
        has_tars = any(name.endswith(".tar") for name in os.listdir(root))
        hint = f"; for its shards pass '{root}/*.tar'" if has_tars else ", or pass a list"
        raise SourceError(f"{root}: no class folders; put videos as {root.name}/CLASS/VIDEO.mp4{hint}.")
    left_out = [entry.name for entry in _entries(root) if is_video_name(entry.name) and entry not in folders]
    videos = {folder: _class_videos(folder, file, left_out) for folder in folders}
    if not file.check_files and any(videos.values()):
        # What is to be checked: a class without videos is named in a warning, and is none.
        folders = [folder for folder in folders if videos[folder]]
    spelled = {folder: clean_name(folder.name) for folder in folders}
    for folder, name in spelled.items():
        fault = find_name_fault(name)
        if fault:
            problems.add(shorten(folder.name), f"the folder's name {fault}; rename it")
        elif class_names is not None and name not in class_names:
            problems.add(folder.name, f"unknown class; known are {some(class_names)}")
    # Folders whose names are two spellings of one name are one class.
    names = tuple(class_names or dict.fromkeys(spelled.values()))
    numbers = {name: label for label, name in enumerate(names)}
    rows = [Row(f"{root.name}/{path}", path, spelled[folder]) for folder in folders for path in videos[folder]]
    records = make_records(file, Listing(rows), [numbers.get(row.label, -1) for row in rows])
    problems.raise_if_any()
    lacking = [name for name in names if name not in spelled.values()]
    warnings = [f"{root}: no folder of the classes {some(lacking)}"] if lacking else []
    if left_out:
        warnings.append(
            f"{root}: {len(left_out)} left out, neither videos by their endings nor folders of images: {some(left_out)}"
        )
    warnings += warn_alike(root, names) if class_names is None else []
    return VideoSource(tuple(records), names, "class_folders", (*warnings, *problems.warnings))


def _class_videos(folder: Path, file: ListFile, left_out: list[str]) -> list[str]:
    """Videos right inside a class folder. A folder without any is a problem, files that are none are ``left_out``."""
    videos, nested, has_images = [], None, False
    for path in _entries(folder):
        name = f"{folder.name}/{path.name}"
        inside = _listing(path)
        if is_video_name(path.name) if inside is None else any(map(is_image_name, inside)):
            videos.append(name)
        elif inside is not None and any(map(is_video_name, inside)):
            nested = name
        else:
            left_out.append(name)
        has_images = has_images or is_image_name(path.name)
    place, what = folder.name, ""
    if nested is not None:
        hint = "" if videos else f"; pass {folder} if its folders are the classes"
        place, what = nested, f"videos one folder too deep{hint}"
    elif not videos:
        hint = "; put the frames of each video in a folder of their own" if has_images else ""
        what = f"class folder without videos{hint or '; add videos or remove it' * file.check_files}"
    if what and file.check_files:
        file.problems.add(place, what)
    elif what:
        file.problems.warnings.append(f"{folder.parent / place}: {what}; left out")
    return videos


def _listing(path: Path) -> list[str] | None:
    """Return the names in a folder, None for a file. A folder that may not be listed is taken for one of images."""
    if not os.path.isdir(path):
        return None
    try:
        return os.listdir(path)
    except OSError:
        return ["0.png"]


def _entries(folder: Path) -> list[Path]:
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(entries, key=lambda path: (natural_key(path.name), path.name))
