"""Training and validation sets: split by whole films, and checked against each other."""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from videozoo.text import first_few, some

from .list_errors import SourceError
from .name_groups import find_groups
from .records import VideoRecord, VideoSource

SHOWN_SHARED = 5
# A part of a film as Kinetics names it: its YouTube identifier, and seconds; and as UCF101 does: group, and clip.
CUT = re.compile(r"([A-Za-z0-9_-]{11}(?=_[0-9]{6}_[0-9]{6}$)|v_.+_g[0-9]{2}(?=_c[0-9]{2}$)).+")
CUT_OF_KINETICS = re.compile(r"(.+)_[0-9]{6}_[0-9]{6}")


def check_splits(train: VideoSource, val: VideoSource) -> list[str]:
    """Return the problems between a training and a validation source: different classes, and films in both.

    Films are distinguished by their files' device and inode, so that links and other spellings of a path are found, and
    by the identifier in the names of Kinetics' clips and the group in UCF101's. Copies of a file are not found.

    Args:
        train, val: what ``load_source`` gives.
    Returns:
        a sentence each, with the places in both lists, empty where all is well. Of the videos in both the first five,
        and the number of the rest.
    """
    found = []
    if train.class_names != val.class_names:
        pairs = enumerate(zip(train.class_names, val.class_names, strict=False))
        first = next((f"class {i} is {a!r} and {b!r}" for i, (a, b) in pairs if a != b), "one has more")
        found.append(f"training and validation number their classes differently: {first}")
    trained = {label for record in train.records for label in record.classes}
    untrained = Counter(label for record in val.records for label in record.classes if label not in trained)
    for label, count in sorted(untrained.items()):
        name = val.class_names[label] if 0 <= label < len(val.class_names) else str(label)
        place = next(record.source for record in val.records if label in record.classes)
        found.append(f"{place}: class {name!r} has {count} validation videos and no training video")
    return found + _shared_films(train, val)


def split_by_hash(
    source: VideoSource, val_frac: float = 0.2, val_group: str | None = None
) -> tuple[VideoSource, VideoSource]:
    """Split into training and validation by the SHA-256 of each film's relative path, class by class.

    The same files give the same split in any order, on any machine. The parts of a film go to one side: parts of one
    file, under whatever names and links, clips of one film of Kinetics, and of one group of UCF101. Of a class with
    n >= 2 videos about ``n * val_frac`` validate, at least one and at most n - 1. A class with a single film trains.
    A video with several classes counts for each of them, those without a class are split as one of their own.
    Videos that belong together otherwise (one person, one recording in several files) are kept together where
    ``val_group`` finds them by their names.

    Args:
        source: what ``load_source`` gives.
        val_frac: fraction for validation, in (0, 1).
        val_group: a regular expression. Videos are of one group where it matches the same part of their names (or its
            first pair of parentheses does), see ``find_groups``. Those whose names do not match are split as ever.
    Returns:
        training and validation sources, with all class names each.
    Raises:
        ValueError: ``val_frac`` is out of range.
        SourceError: no class has videos of two films. Or ``val_group`` is no regular expression, matches nothing, makes
            one group, or leaves a class without validation.
    """
    if not 0 < val_frac < 1:
        raise ValueError(f"split_by_hash: val_frac is {val_frac}, must lie between 0 and 1.")
    film_of_each = _number_films(source, val_group)
    total = _count_classes(source.records)
    films: list[list[VideoRecord]] = [[] for _ in range(max(film_of_each) + 1)]
    for record, film in zip(source.records, film_of_each, strict=True):
        films[film].append(record)
    # How many videos of each class a film has, and the films of each class in the order of their hashes.
    counts = [_count_classes(parts) for parts in films]
    hashes = [min(map(_hash_key, parts)) for parts in films]
    films_with: dict[int, list[int]] = defaultdict(list)
    for film in sorted(range(len(films)), key=hashes.__getitem__):
        for label in counts[film]:
            films_with[label].append(film)
    chosen: set[int] = set()
    validating: Counter[int] = Counter()
    for label, count in sorted(total.items()):
        wanted = min(max(round(count * val_frac), 1), count - 1)
        for film in films_with[label]:
            lacking = wanted - validating[label]
            if lacking <= 0:
                break
            more = counts[film]
            takes_last = any(validating[other] + more[other] >= total[other] for other in more)
            # A long film is taken if that is nearer to what is wanted, or if there is none yet.
            is_too_long = validating[label] > 0 and more[label] - lacking > lacking
            if film not in chosen and not takes_last and not is_too_long:
                chosen.add(film)
                validating.update(more)
    if not chosen:
        what = "split_by_hash: no class has videos of two films that could be parted"
        if val_group:
            what = f"val_group is {val_group!r}, which leaves no class with videos of two groups that could be parted"
        raise SourceError(f"{what}; add videos, or pass a validation set.")
    if val_group:
        _check_validated(source, val_group, validating, _count_classes(source.records))
    pairs = list(zip(source.records, film_of_each, strict=True))
    train = tuple(record for record, film in pairs if film not in chosen)
    val = tuple(record for record, film in pairs if film in chosen)
    return replace(source, records=train), replace(source, records=val)


def _number_films(source: VideoSource, val_group: str | None) -> list[int]:
    """Number the groups that stay on one side: films, and with a pattern all films that share a group."""
    films = list(map(_FilmOf(source), source.records))
    numbers: dict[object, int] = {}
    if val_group is None:
        return [numbers.setdefault(film, len(numbers)) for film in films]
    groups = find_groups(source.records, val_group)
    if None not in groups and len(set(groups)) < 2:
        raise SourceError(
            f"val_group is {val_group!r}, which makes one group, {groups[0]!r}; validation needs another."
        )
    first: dict[object, object] = {}  # of each group, and of each film, what joins it to others

    def root(key: object) -> object:
        while first.setdefault(key, key) != key:
            key = first[key]
        return key

    keys = [("film", film) if group is None else ("group", group) for film, group in zip(films, groups, strict=True)]
    for key, film in zip(keys, films, strict=True):
        first[root(("film", film))] = root(key)
    return [numbers.setdefault(root(key), len(numbers)) for key in keys]


def _check_validated(source: VideoSource, val_group: str, validating: Counter[int], total: Counter[int]) -> None:
    lacking = [label for label in sorted(total) if label >= 0 and total[label] > 1 and not validating[label]]
    if not lacking:
        return
    groups = find_groups(source.records, val_group)
    pairs = list(zip(source.records, groups, strict=True))
    texts = []
    for label in lacking:
        own = {group or record.name for record, group in pairs if label in record.classes}
        where = f"all of {min(own)!r}" if len(own) == 1 else f"of {len(own)} groups, which other classes need"
        texts.append(f"{source.class_names[label]} ({total[label]} videos, {where})")
    raise SourceError(
        f"val_group is {val_group!r}, which leaves no validation video of {some(texts, 5)}; choose a pattern of "
        "smaller groups, or pass a validation set."
    )


def _count_classes(records: Sequence[VideoRecord]) -> Counter[int]:
    """Return the videos of each class. -1 means no class."""
    return Counter(label for record in records for label in (record.classes or (-1,)))


class _FilmOf:
    """Key of a record's film, to compare it with other records."""

    def __init__(self, *sources: VideoSource) -> None:
        is_kinetics = any(source.data_format == "kinetics" for source in sources)
        self._cut = CUT_OF_KINETICS if is_kinetics else CUT
        self._find_file = lru_cache(maxsize=None)(_find_file)
        cuts = (self._cut.fullmatch(_stem(record)) for source in sources for record in source.records)
        self._identifiers = {cut[1] for cut in cuts if cut}

    def __call__(self, record: VideoRecord) -> object:
        if self._identifiers:
            stem = _stem(record)
            cut = self._cut.fullmatch(stem)
            if cut or stem in self._identifiers:
                return cut[1] if cut else stem
        return self.file_of(record)

    def file_of(self, record: VideoRecord) -> object:
        return self._find_file(os.fspath(record.path)), record.member


def _stem(record: VideoRecord) -> str:
    return os.path.splitext(os.path.basename(record.name or record.path))[0]


def _shared_films(train: VideoSource, val: VideoSource) -> list[str]:
    film_of = _FilmOf(train, val)
    by_film: dict[object, list[VideoRecord]] = defaultdict(list)
    for record in train.records:
        by_film[film_of(record)].append(record)
    shared = []
    for b in val.records:
        others = by_film.get(film_of(b), [])
        same = [a for a in others if film_of.file_of(a) == film_of.file_of(b) and _overlap(a, b)]
        if others:
            shared.append((b, (same or others)[0], bool(same)))
    found = [_say_shared(*pair) for pair in shared]
    return first_few(found, SHOWN_SHARED, rest=" videos are in both training and validation")


def _say_shared(b: VideoRecord, a: VideoRecord, is_overlapping: bool) -> str:
    is_same = (a.span_sec, a.frame_range) == (b.span_sec, b.frame_range)
    part = "is also" if is_same else "overlaps a part that is"
    if not is_overlapping:
        part = "is of a film of which another part is"
    here, there = (" ".join(map(str, record.classes)) or "none" for record in (b, a))
    classes = "" if here == there else f", with another class ({here} here, {there} there)"
    return f"{b.source}: {b.name or b.path} {part} in training ({a.source}){classes}"


def _find_file(path: str) -> object:
    """Return a key of a file that is the same under every name."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return status.st_dev, status.st_ino


def _overlap(a: VideoRecord, b: VideoRecord) -> bool:
    parts = ((a.span_sec, b.span_sec), (a.frame_range, b.frame_range))
    return all(p is None or q is None or (p[0] < q[1] and q[0] < p[1]) for p, q in parts)


def _hash_key(record: VideoRecord) -> tuple[str, str]:
    name = record.name or record.path.as_posix()
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest(), name
