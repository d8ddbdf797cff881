"""Class names and their numbers."""

import re
from collections.abc import Sequence
from pathlib import Path

from .image_folder import natural_key
from .lists import ListFile, Listing, Problems, Row, SourceError, Vocabulary, read_text, shorten, split_lines

# Above this a class index is a slip of the pen, not a class.
MAX_CLASSES = 100_000
MAX_NAME = 1000
# Names, a line each, beside a list of indices: ours, TSM's and TRN's, MMAction2's.
CLASS_FILES = ("classes.txt", "category.txt", "label_map.txt")


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse class names that are none, empty, doubled, or of several lines.

    Raises:
        SourceError: which, and where.
    """
    if isinstance(names, str) or not names:
        raise SourceError(f"{where}: got {names!r}, needs at least one class name.")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SourceError(f"{where}:{number}: an empty class name.")
        if name in seen:
            raise SourceError(f"{where}:{number}: class {name!r} again (first at {seen[name]}); names must differ.")
        seen[name] = number


def read_names(file: Path) -> Vocabulary:
    """Class names, one a line.

    Raises:
        SourceError: it cannot be read, or its names are not fit.
    """
    names = [line.strip() for line in split_lines(read_text(file).rstrip())]
    check_names(names, str(file))
    return Vocabulary(tuple(names), tuple(f"{file.name}:{line}" for line in range(1, len(names) + 1)))


def number_labels(
    file: ListFile, listing: Listing, class_names: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...], list[str]]:
    """Number the labels of a listing.

    Labels are all indices or all names. The classes are ``class_names``, else the data set's own, else for indices the
    file of names beside the list, else what occurs, in natural order. Where ``class_names`` are mere numbers (a network
    whose classes have no names), the data set's own order gives names theirs.

    Returns:
        class index of each row (-1 where it has none), class names, warnings.
    """
    rows, vocabulary = listing
    are_indices = bool(rows) and is_index(rows[0].label)
    if vocabulary is None and are_indices:
        vocabulary = _names_beside(file.path)
    fitting = []
    for row in rows:
        if len(row.label) > MAX_NAME or not row.label.isprintable():
            file.problems.add(row.place, f"{shorten(row.label)} is no class name: it is too long, or not one line")
        elif is_index(row.label) == are_indices:
            fitting.append(row)
        else:
            kind, other = ("name", "an index") if are_indices else ("index", "a name")
            what = f"label {row.label!r} is a class {kind}, the first ({rows[0].place}) is {other}"
            file.problems.add(row.place, what)
    if are_indices:
        labels, names = _check_indices(rows, vocabulary, class_names, file.problems)
    else:
        labels, names = _look_up(rows, fitting, vocabulary, class_names, file.problems)
    return labels, names, _unused(file, labels, names, vocabulary)


def is_index(label: str) -> bool:
    """Whether a label is written as a whole number."""
    return re.fullmatch(r"[+-]?[0-9]{1,18}", label) is not None


def some(names: Sequence[str]) -> str:
    """The first eight names and the number of the rest."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _look_up(
    rows: list[Row],
    fitting: list[Row],
    vocabulary: Vocabulary | None,
    class_names: Sequence[str] | None,
    problems: Problems,
) -> tuple[list[int], tuple[str, ...]]:
    own = vocabulary.names if vocabulary else None
    if own is None:
        own = tuple(sorted({row.label for row in fitting}, key=lambda name: (natural_key(name), name)))
    names = tuple(class_names or own)
    is_numbered = vocabulary is not None and names == tuple(str(i) for i in range(len(vocabulary.names)))
    numbers = {name: label for label, name in enumerate(own if is_numbered else names)}
    for row in fitting:
        if row.label not in numbers:
            problems.add(row.place, f"unknown class {row.label!r}; known are {some(tuple(numbers))}")
    return [numbers.get(row.label, -1) for row in rows], names


def _check_indices(
    rows: list[Row], vocabulary: Vocabulary | None, class_names: Sequence[str] | None, problems: Problems
) -> tuple[list[int], tuple[str, ...]]:
    own = vocabulary.names if vocabulary else None
    names = tuple(class_names) if class_names is not None else own
    limit = MAX_CLASSES if names is None else len(names)
    labels = []
    for row in rows:
        label = int(row.label) if is_index(row.label) else -1
        if not 0 <= label < limit and is_index(row.label):
            problems.add(row.place, f"class index {row.label} is out of range; must be 0 to {limit - 1}")
        labels.append(label if 0 <= label < limit else -1)
    if own is not None and names is not None and own != names and set(own) == set(names):
        # The same classes in another order: the names decide, or every label would be wrong.
        places = [names.index(name) for name in own]
        labels = [places[label] if label >= 0 else -1 for label in labels]
    return labels, names or tuple(str(label) for label in range(max(labels, default=-1) + 1))


def _names_beside(path: Path) -> Vocabulary | None:
    for name in CLASS_FILES:
        file = path.parent / name
        if file.is_file() and not file.samefile(path):
            return read_names(file)
    return None


def _unused(file: ListFile, labels: list[int], names: tuple[str, ...], vocabulary: Vocabulary | None) -> list[str]:
    """A warning that names the classes without a video, and the lines on which they stand."""
    used = set(labels)
    lacking = [label for label in range(len(names)) if label not in used]
    if not lacking:
        return []
    places = dict(zip(vocabulary.names, vocabulary.places, strict=True)) if vocabulary else {}
    told = [f"{names[label]} ({places[names[label]]})" if names[label] in places else names[label] for label in lacking]
    count = f"{len(lacking)} of {len(names)} classes have" if len(lacking) > 1 else f"1 of {len(names)} classes has"
    return [f"{file.path}: {count} no video: {some(told)}"]
