"""``root/class_name/video.mp4``: a folder of class folders."""

import os
from collections.abc import Sequence
from pathlib import Path

from videozoo.names import clean_name, find_name_fault, shorten
from videozoo.video.image_folder import is_image_name, natural_key

from ..files import is_empty, is_video_name, trouble_with, warn_empty
from ..labels import some, warn_alike
from ..lists import Problems, SourceError
from ..records import VideoRecord, VideoSource


def load_class_folders(root: Path, class_names: Sequence[str] | None, *, check_files: bool) -> VideoSource:
    """Videos in class folders; classes in natural order of their folders unless given.

    A folder of images inside a class folder is one video. Where files are not checked, folders without videos are left
    out, with a warning. Hidden files are passed over; a warning names what else is no
    video by its ending.

    Raises:
        SourceError: no class folders, unknown classes, empty folders, videos one folder too deep.
    """
    problems = Problems(root)
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    if not folders:
        has_tars = any(name.endswith(".tar") for name in os.listdir(root))
        hint = f"; for its shards pass '{root}/*.tar'" if has_tars else ", or pass a list"
        raise SourceError(f"{root}: no class folders; put videos as {root.name}/CLASS/VIDEO.mp4{hint}.")
    left_out = [entry.name for entry in _entries(root) if is_video_name(entry.name) and entry not in folders]
    videos = {folder: _class_videos(folder, problems, left_out, check_files) for folder in folders}
    if not check_files and any(videos.values()):
        # What is to be checked: a class without videos is named in a warning, and is none.
        folders = [folder for folder in folders if videos[folder]]
    spelled = {folder: clean_name(folder.name) for folder in folders}
    for folder, name in spelled.items():
        fault = find_name_fault(name)
        if fault:
            problems.add(shorten(folder.name), f"the folder's name {fault}; rename it")
        elif class_names is not None and name not in class_names:
            problems.add(folder.name, f"unknown class; known are {some(class_names)}")
    problems.raise_if_any()
    # Folders whose names are two spellings of one name are one class.
    names = tuple(class_names or dict.fromkeys(spelled.values()))
    labels = {name: label for label, name in enumerate(names)}
    records: list[VideoRecord] = []
    empty: list[str] = []
    for folder, name in spelled.items():
        for path in videos[folder]:
            place = f"{folder.name}/{path.name}"
            records.append(VideoRecord(path, labels[name], f"{root.name}/{place}", place))
            empty += [place] * (check_files and is_empty(path))
    lacking = [name for name in names if name not in spelled.values()]
    warnings = [f"{root}: no folder of the classes {some(lacking)}"] if lacking else []
    if left_out:
        warnings.append(
            f"{root}: {len(left_out)} left out, neither videos by their endings nor folders of images: {some(left_out)}"
        )
    warnings += warn_alike(root, names) if class_names is None else []
    return VideoSource(
        tuple(records), names, "class_folders", (*warnings, *problems.warnings, *warn_empty(root, empty))
    )


def _class_videos(folder: Path, problems: Problems, left_out: list[str], check_files: bool) -> list[Path]:
    """Videos right inside a class folder; those that cannot be read are problems, other files are ``left_out``."""
    videos, nested, has_images = [], None, False
    for path in _entries(folder):
        name = f"{folder.name}/{path.name}"
        inside = _listing(path)
        if is_video_name(path.name) if inside is None else any(map(is_image_name, inside)):
            videos.append(path)
            trouble = trouble_with(path) if check_files else None
            if trouble:
                problems.add(name, trouble)
        elif inside is not None and any(map(is_video_name, inside)):
            nested = path
        else:
            left_out.append(name)
        has_images = has_images or is_image_name(path.name)
    place, what = folder.name, ""
    if nested is not None:
        hint = "" if videos else f"; pass {folder} if its folders are the classes"
        place, what = f"{folder.name}/{nested.name}", f"videos one folder too deep{hint}"
    elif not videos:
        hint = "; put the frames of each video in a folder of their own" if has_images else ""
        what = f"class folder without videos{hint or '; add videos or remove it' * check_files}"
    if what and check_files:
        problems.add(place, what)
    elif what:
        problems.warnings.append(f"{folder.parent / place}: {what}; left out")
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
