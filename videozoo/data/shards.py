"""Tar shards as the webdataset library writes and reads them, with random access.

A shard is an uncompressed tar. Members that follow each other and share the name up to the first dot are one sample:
``000017.mp4`` and ``000017.cls``. A stream, which is how shards are mostly read, can neither visit every clip exactly
once in a random order, nor be taken up again in the middle of an epoch, nor be shared evenly among processes. So the
headers are read once, at start, and each video is then read at its offset.
"""

import glob
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from videozoo.names import shorten
from videozoo.video.image_folder import natural_key

from .files import is_video_name
from .labels import is_index, number_labels
from .list_errors import SEVERAL_LABELS, Problems, RowFault, SourceError
from .lists import ListFile, Listing, Row
from .records import VideoRecord, VideoSource
from .tar_index import Member, read_members

# Labels larger than this are none.
MAX_LABEL_BYTES = 1_000_000
MAX_SHARDS = 1_000_000
REMOTE = re.compile(r"(pipe:|[A-Za-z][A-Za-z0-9+.-]+://)")
TAR_ENDING = re.compile(r"\.(tar|tgz|tar\.(gz|xz|bz2|zst|lz4))$", re.IGNORECASE)
LABEL_ENDINGS = ("cls", "json", "txt")


def is_shards(data: object) -> bool:
    """Return whether a ``data`` argument means shards: files, patterns or addresses that end in ``.tar``."""
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        is_folder = os.path.isdir(text) if "\0" not in text else False
        return bool(REMOTE.match(text) or (TAR_ENDING.search(text) and not is_folder))
    return isinstance(data, Sequence) and len(data) > 0 and all(is_shards(item) for item in data)


def load_shards(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, class_names: Sequence[str] | None = None
) -> VideoSource:
    """Find the labeled videos in tar shards.

    The label of a sample is its ``.cls``, else ``label`` (or ``cls``) in its ``.json``, else its ``.txt``: an index or
    a class name. Numbers in ``.cls``, and in JSON without quotes, are indices.

    Args:
        data: a pattern with braces, ``*`` or both, a tar, or a list of these.
        class_names: the classes, where they are settled already.
    Raises:
        SourceError: missing, compressed, damaged or remote shards. Samples without a label or with several videos, keys
            that come twice. Unknown classes.
    """
    shards = expand_shards(data)
    base = os.path.commonpath([path.absolute().parent for path in shards])
    problems = Problems(shards[0] if len(shards) == 1 else base)
    file = ListFile(shards[0], Path(base), None, problems)
    rows: list[Row] = []
    members: list[tuple[Path, Member]] = []
    are_indices = True
    for shard in shards:
        inside = os.path.relpath(shard.absolute(), base).replace(os.sep, "/")
        for place, video, (label, is_number) in _read_shard(shard, inside, problems):
            rows.append(Row(place, f"{inside}/{video.name}", label))
            members.append((shard, video))
            are_indices = are_indices and is_number
    _note_copies(rows, members, problems)
    if not rows and not problems.found:
        raise SourceError(f"{problems.where}: no videos in {len(shards)} shards; members are KEY.mp4 and KEY.cls.")
    labels, names, warnings = number_labels(
        file, Listing(rows, labels_are="indices" if are_indices else ""), class_names
    )
    problems.raise_if_any()
    records = tuple(
        VideoRecord(shard, label, row.place, row.path, member=(video.offset, video.size))
        for row, label, (shard, video) in zip(rows, labels, members, strict=True)
    )
    return VideoSource(records, names, "shards", (*warnings, *problems.warnings))


# Names of shards


def expand_shards(data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the files of a pattern, or of several, in order.

    Args:
        data: ``"shards/{000000..000099}.tar"``, ``"shards/*.tar"``, one file, or a list of these.
    Raises:
        SourceError: remote addresses, nothing found, or a file that is named twice or not there.
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    paths: list[Path] = []
    for text in [os.fspath(item) for item in given]:
        if REMOTE.match(text):
            raise SourceError(
                f"{text}: remote shards are not supported, as exact sampling needs random access; copy or mount them."
            )
        names = [text] if os.path.exists(text) else expand_braces(text)
        for name in names:
            is_pattern = glob.has_magic(name) and not os.path.exists(name)
            found = sorted(glob.glob(name), key=natural_key) if is_pattern else [name]
            if not found:
                raise SourceError(f"{name}: no shard is named so.")
            paths += map(Path, found)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SourceError(f"{missing[0]}: no such shard; {len(missing)} of {len(paths)} are missing.")
    seen: set[str] = set()
    for path in paths:
        if os.path.realpath(path) in seen:
            raise SourceError(f"{path}: a shard that is named twice.")
        seen.add(os.path.realpath(path))
    if not paths:
        raise SourceError("no shards; pass a pattern such as 'shards/{000000..000099}.tar'.")
    return paths


def expand_braces(text: str) -> list[str]:
    """``{00..02}`` and ``{a,b}`` written out, as a shell does.

    Raises:
        SourceError: more than a million names.
    """
    ranges = r"\{[0-9]{1,18}\.\.[0-9]{1,18}\}"
    parts = re.split(rf"({ranges}|\{{[^{{}}]*,[^{{}}]*\}})", text)
    choices = [_choices(part) if place % 2 else [part] for place, part in enumerate(parts)]
    if math.prod(map(len, choices)) > MAX_SHARDS:
        raise SourceError(f"{text}: more than {MAX_SHARDS} shards.")
    return ["".join(names) for names in itertools.product(*choices)]


def _choices(braces: str) -> Sequence[str]:
    first, dots, last = braces[1:-1].partition("..")
    if not (dots and first.isdigit() and last.isdigit()):
        return braces[1:-1].split(",")
    step = 1 if int(last) >= int(first) else -1
    numbers = range(int(first), int(last) + step, step)[: MAX_SHARDS + 1]
    is_padded = any(len(part) > 1 and part.startswith("0") for part in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [str(number).zfill(width) for number in numbers]


# What is in a shard


def _read_shard(shard: Path, name: str, problems: Problems) -> Iterator[tuple[str, Member, tuple[str, bool]]]:
    """Place, video and label of each sample that has them. Of the label also whether it can be an index only."""
    found = read_members(shard)
    try:
        with shard.open("rb") as opened:
            for place, parts in _samples(found, name, problems):
                try:
                    video = _take_video(parts)
                    label = _take_label(parts, opened)
                except RowFault as fault:
                    problems.add(place, str(fault))
                    continue
                if not video.size:
                    problems.warnings.append(f"{place}: {video.name} is empty (0 bytes)")
                yield place, video, label
    except OSError as err:
        raise SourceError(f"{shard}: cannot be read ({err.strerror or err}).") from err


def _samples(members: Sequence[Member], shard: str, problems: Problems) -> Iterator[tuple[str, dict[str, Member]]]:
    """Place and, by their endings, the members of each sample: those that follow each other under one key."""
    done: set[str] = set()
    for key, group in itertools.groupby(members, lambda member: _key_and_ending(member)[0]):
        if not key:
            continue
        parts: dict[str, Member] = {}
        if key in done:
            problems.add(f"{shard}:{key}", "comes again; the members of a sample must follow each other")
        done.add(key)
        for member in group:
            ending = _key_and_ending(member)[1]
            if ending in parts:
                problems.add(f"{shard}:{key}", f"has two members .{ending}")
            parts[ending] = member
        yield f"{shard}:{key}", parts


def _key_and_ending(member: Member) -> tuple[str, str]:
    """Return the name up to its first dot, and what follows it, empty for what is no part of a sample."""
    folder, _, name = member.name.removeprefix("./").rpartition("/")
    stem, dot, ending = name.partition(".")
    if not stem or not dot or (stem.startswith("__") and stem.endswith("__")):
        return "", ""
    return f"{folder}/{stem}" if folder else stem, ending.lower()


def _take_video(parts: Mapping[str, Member]) -> Member:
    videos = [member for ending, member in parts.items() if is_video_name(f"x.{ending}")]
    if len(videos) != 1:
        raise RowFault(f"{'several videos' if videos else 'no video'} (.{', .'.join(parts)})")
    return videos[0]


def _take_label(parts: Mapping[str, Member], shard: BinaryIO) -> tuple[str, bool]:
    ending = next((ending for ending in LABEL_ENDINGS if ending in parts), None)
    if ending is None:
        raise RowFault(f"no label; beside .{', .'.join(parts)} must be .cls, .json or .txt")
    member = parts[ending]
    if member.size > MAX_LABEL_BYTES:
        raise RowFault(f".{ending} has {member.size} bytes, too many for a label")
    shard.seek(member.offset)
    data = shard.read(member.size)
    try:
        text = data.decode("utf-8")
        value = json.loads(text) if ending == "json" else text
    except (ValueError, RecursionError):
        raise RowFault(f".{ending} is not {'JSON' if ending == 'json' else 'text'}") from None
    if isinstance(value, dict):
        value = value.get("label", value.get("cls"))
    if isinstance(value, list):
        raise RowFault(f".{ending} holds {shorten(str(value))}: {SEVERAL_LABELS}")
    label = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not label:
        raise RowFault(f".{ending} holds no label" + (" (label or cls)" if ending == "json" else ""))
    # The webdataset library takes a .cls for a class index.
    return label, isinstance(value, int) or (ending == "cls" and is_index(label))


def _note_copies(rows: Sequence[Row], members: Sequence[tuple[Path, Member]], problems: Problems) -> None:
    """Samples of the same key, size and bytes in two shards. Keys alone may start again in each."""
    seen: dict[tuple[str, int], list[int]] = {}
    for number, (row, (shard, video)) in enumerate(zip(rows, members, strict=True)):
        alike = seen.setdefault((row.place.partition(":")[2], video.size), [])
        for other in alike:
            if members[other][0] != shard and _bytes(*members[other]) == _bytes(shard, video):
                problems.add(row.place, f"is a copy of {rows[other].place}")
                break
        alike.append(number)


def _bytes(shard: Path, member: Member) -> bytes:
    with shard.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)
