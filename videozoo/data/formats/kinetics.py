"""Kinetics csv: ``label,youtube_id,time_start,time_end,split[,is_cc]``.

As published by DeepMind for Kinetics-400, -600 and -700. Files are named as ActivityNet's crawler and the CVDF's copies
name them: ``ID_SSSSSS_EEEEEE.mp4`` (seconds, six digits), or ``ID.mp4`` where the whole film was kept.
"""

import os
from collections import Counter
from pathlib import PurePath

from videozoo.data.list_errors import RowFault, SourceError

from ..files import subfolders, videos_by_stem
from ..lists import ListFile, Listing, Row, bounds_of, csv_rows

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
# As the published files write their splits.
SPLITS = {"train": "train", "training": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read_kinetics(file: ListFile) -> Listing:
    """Return the rows of a Kinetics csv.

    Videos are in the base, in its ``train``, ``val`` and ``test`` or other folders, or in class folders inside any of
    these. Of a whole film only the seconds that are listed are the video.

    Raises:
        SourceError: other columns, or a split that is not in the file (or none asked where it holds several).
    """
    entries = [
        (place, (fields, SPLITS.get(fields.get("split", "").lower(), ""))) for place, fields in csv_rows(file, COLUMNS)
    ]
    counts = Counter(split for _, (_, split) in entries)
    chosen = _choose_split(file, counts)
    folders = subfolders(file.base, "")
    found = videos_by_stem(file.base, ["", *folders, *(name for f in folders for name in subfolders(file.base, f))])

    def make(place: str, entry: tuple[dict[str, str], str]) -> Row | None:
        fields, split = entry
        if chosen is not None and split != chosen:
            return None
        times = fields["time_start"], fields["time_end"]
        start, end = bounds_of(*times, f"time_start to time_end is {times[0]!r} to {times[1]!r}")
        if not fields["label"] or not fields["youtube_id"]:
            raise RowFault(f"the {'youtube_id' if fields['label'] else 'label'} is empty")
        trimmed = f"{fields['youtube_id']}_{int(start):06d}_{int(end):06d}"
        is_trimmed = trimmed in found
        paths = found.get(trimmed) or found.get(fields["youtube_id"], [])
        path = _nearest(paths, fields["label"], split)
        span = None if is_trimmed or not paths else (start, end)
        trouble = "" if path else f"no {trimmed}.mp4 and no {fields['youtube_id']}.mp4 in {file.base} or its folders"
        if path is None and paths:
            trouble = f"{os.path.basename(paths[0])} lies in several folders: {', '.join(paths[:4])}"
        return Row(place, path or f"{trimmed}.mp4", fields["label"], span, trouble=trouble)

    return Listing(file.rows(entries, make), labels_are="names")


def _choose_split(file: ListFile, counts: Counter[str]) -> str | None:
    listed = ", ".join(f"{split or 'none'} ({count})" for split, count in sorted(counts.items()))
    if file.split is None:
        if len(counts) > 1:
            raise SourceError(f"{file.path}: holds several splits: {listed}; choose one with split.")
        return None
    chosen = SPLITS.get(file.split.lower())
    if chosen is None or chosen not in counts:
        raise SourceError(f"{file.path}: has no split {file.split!r}; it holds {listed or 'nothing'}.")
    return chosen


def _nearest(paths: list[str], label: str, split: str) -> str | None:
    """Of files of one name the one in the class's folder, else in the split's. None if that leaves several."""
    for wanted in (lambda parts: _plain(label) in map(_plain, parts), lambda parts: split in map(SPLITS.get, parts)):
        if len(paths) > 1:
            paths = [path for path in paths if wanted(PurePath(path).parts[:-1])] or paths
    return paths[0] if len(paths) == 1 else None


def _plain(name: str) -> str:
    """Return a class name as folders have it: some put underscores for spaces, or leave out quotes and brackets."""
    return "".join(c for c in name.lower().replace("_", " ") if c not in "\"'()")
