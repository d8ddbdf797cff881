"""Groups of videos by their names: persons, recordings, mirrored twins, which belong on one side of a split."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from videozoo.text import some

from .list_errors import SourceError
from .records import VIDEO_EXTENSIONS, VideoRecord, VideoSource

# What makes a hint: so many groups at least, of so many videos on average, that hold so much of the set, and twins.
MIN_GROUPS, MIN_SIZE, MIN_PART, MIN_TWINS = 3, 2, 0.9, 3
_PARTS = re.compile(r"[_. -]+")
_SUFFIX = re.compile(r"[_. (-]")


def find_groups(records: Sequence[VideoRecord], pattern: str) -> list[str | None]:
    """Return the group of each video, None where its name does not match.

    The pattern is searched in the names of the files and, if none of these matches, in their paths as listed. Both
    without the ending of a video.

    Args:
        records: the videos.
        pattern: a regular expression. A group is what it matches, or what its first pair of parentheses does.
    Raises:
        SourceError: it is no regular expression, or no name matches.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SourceError(f"val_group is {pattern!r}, no regular expression ({error}).") from error
    paths = [_without_ending(record.name or os.fspath(record.path)) for record in records]
    names = [os.path.basename(path) for path in paths]
    for texts in (names, paths):
        found = [_group(compiled, text) for text in texts]
        if any(found):
            return found
    raise SourceError(f"val_group is {pattern!r}, which matches no name, such as {some(names, 3)}.")


def hint_groups(train: VideoSource, val: VideoSource) -> str:
    """Return a hint where names say that a split has parted what belongs together, empty if they do not.

    That is so where twins such as ``a.mp4`` and ``a_mirror.mp4`` are on both sides, or where the first part of the
    names (``daria`` of ``daria_bend.mp4``) comes in several classes and on both sides.
    """
    sides = [(record, side) for side, source in enumerate((train, val)) for record in source.records]
    return _hint_prefixes(sides) or _hint_twins(sides)


def _group(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return (match[1] if pattern.groups else match[0]) or None if match else None


def _hint_prefixes(sides: Sequence[tuple[VideoRecord, int]]) -> str:
    for place in (0, 1):
        seen: dict[str, set[int]] = defaultdict(set)
        classes: dict[str, set[int]] = defaultdict(set)
        sizes: Counter[str] = Counter()
        for record, side in sides:
            parts = _PARTS.split(_stem(record))
            # A number alone counts takes, and a name of one part is the video's own.
            if len(parts) > max(place, 1) and re.search("[A-Za-z]", parts[place]):
                seen[parts[place]].add(side)
                classes[parts[place]].update(record.classes)
                sizes[parts[place]] += 1
        mixed = [name for name in sizes if len(classes[name]) > 1]
        parted = sorted(name for name in mixed if len(seen[name]) > 1)
        if (
            len(sizes) >= MIN_GROUPS
            and len(sides) >= MIN_SIZE * len(sizes)
            and sum(sizes[name] for name in mixed) >= MIN_PART * len(sides)
            and parted
        ):
            pattern = r"^([^_. -]+)" if place == 0 else r"^[^_. -]+[_. -]+([^_. -]+)"
            return (
                f"the {('first', 'second')[place]} part of the names comes in several classes and on both sides of the "
                f"split ({some(parted, 3)}); if it is a person or a film, validate on others: --val-group '{pattern}'"
            )
    return ""


def _hint_twins(sides: Sequence[tuple[VideoRecord, int]]) -> str:
    places = {(os.path.dirname(record.name), _stem(record)): side for record, side in sides}
    twins: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for (folder, stem), side in places.items():
        for match in _SUFFIX.finditer(stem):
            other = places.get((folder, stem[: match.start()])) if match.start() else None
            if other is not None:
                twins[stem[match.start() :]].append((stem[: match.start()], side != other))
    common = [suffix for suffix, pairs in twins.items() if len(pairs) >= MIN_TWINS]
    parted = [f"{stem} and {stem}{suffix}" for suffix in common for stem, is_parted in twins[suffix] if is_parted]
    if not parted:
        return ""
    suffixes = "|".join(map(re.escape, sorted(common)))
    return (
        f"{len(parted)} videos have a twin on the other side of the split ({some(parted, 2)}); keep twins together: "
        rf"--val-group '^(.+?)(?:{suffixes})?$'"
    )


def _stem(record: VideoRecord) -> str:
    return _without_ending(os.path.basename(record.name or record.path))


def _without_ending(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return stem if ending.lower() in VIDEO_EXTENSIONS else path
