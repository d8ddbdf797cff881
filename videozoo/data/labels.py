"""Class names and their numbers."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from videozoo.names import clean_name, clean_names, find_alike, find_name_fault, shorten
from videozoo.text import count_of, some
from videozoo.video.image_folder import natural_key

from .list_errors import JOIN_LABELS, SEVERAL_LABELS, Problems, RowFault, SourceError
from .list_text import BLANK, expand_home, read_text, split_lines
from .lists import ListFile, Listing, Vocabulary, split_labels
from .multi_label_checks import find_several_labels

# Above this a class index is a slip of the pen, not a class.
MAX_CLASSES = 100_000
# Names, a line each, beside a list of indices: ours, TSM's and TRN's, MMAction2's.
CLASS_FILES = ("classes.txt", "category.txt", "label_map.txt")
OTHER_NAMES = "if that is another list's file, name the right one: --class-names FILE"


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the class names in their one spelling, as `videozoo.names.clean_names` does.

    Raises:
        SourceError: which name is not fit, and where.
    """
    try:
        return clean_names(names, where)
    except ValueError as err:
        raise SourceError(str(err)) from err


def read_names(path: str | os.PathLike[str]) -> Vocabulary:
    """Read class names, one a line.

    Every file of names is read here.

    Raises:
        SourceError: it cannot be read, or its names are not fit.
    """
    file = Path(expand_home(path))
    lines = split_lines(read_text(file).rstrip())
    return make_vocabulary([(f"{file.name}:{k}", line.strip(BLANK)) for k, line in enumerate(lines, 1)], file)


def make_vocabulary(listed: Sequence[tuple[str, str]], file: Path) -> Vocabulary:
    """Return the classes of a file, given the place and the name of each.

    Raises:
        SourceError: the names are not fit.
    """
    return Vocabulary(check_names([name for _, name in listed], str(file)), tuple(place for place, _ in listed))


def number_labels(
    file: ListFile, listing: Listing, class_names: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...], list[str]]:
    """Number the labels of a listing.

    Labels are all indices or all names. A label that equals a class name is that class. Where all labels could be class
    indices too, and would then be other classes, the list is refused unless it says what they are. The classes are
    ``class_names``, else the data set's own, else for indices the file of names beside the list, else what occurs, in
    natural order. Where a data set has names of its own, an index means the name. Where ``class_names`` are mere
    numbers (a model whose classes have no names), the data set's own order counts.

    Returns:
        class index of each row (-1 where it has none), class names, warnings.
    """
    spelled = {text: clean_name(text) for text in {row.label for row in listing.rows}}
    fault_of = {name: find_name_fault(name) for name in spelled.values()}
    rows = [row if spelled[row.label] == row.label else row._replace(label=spelled[row.label]) for row in listing.rows]
    faults = [fault_of[row.label] for row in rows]
    vocabulary, beside = listing.vocabulary, None
    if vocabulary is None and listing.labels_are != "names" and rows and is_index(rows[0].label):
        beside = None if file.vocabulary else _names_beside(file.path)
        vocabulary = read_names(beside) if beside else file.vocabulary
    known = _Known(class_names, vocabulary)
    texts = {row.label: row.place for row, fault in zip(rows, faults, strict=True) if not fault}
    several = find_several_labels(texts, known.by_name)
    texts = {text: place for text, place in texts.items() if text not in several}
    are_indices = _are_indices(texts, listing.labels_are, known, file.problems)
    is_mixed = not listing.labels_are and known.names is None and not all(map(is_index, texts))
    hint = JOIN_LABELS if file.multi_label else SEVERAL_LABELS
    fitting = []
    for row, fault in zip(rows, faults, strict=True):
        first = f"the first ({rows[0].place})"
        if fault:
            file.problems.add(row.place, f"{shorten(row.label)} is no class name: it {fault}")
        elif row.label in several:
            file.problems.add(row.place, f"label {shorten(row.label)}: {hint}")
        elif are_indices and not is_index(row.label):
            file.problems.add(row.place, f"label {row.label!r} is a class name, {first} is an index")
        elif is_mixed and not are_indices and is_index(row.label):
            file.problems.add(row.place, f"label {row.label!r} is a class index, {first} is a name")
        else:
            fitting.append(row)
    if known.names is None and not are_indices:
        occurring = {row.label for row in fitting}
        known = _Known(sorted(occurring, key=lambda name: (natural_key(name), name)), None)
    find = known.of_index if are_indices else known.by_name.get
    unknown: dict[str, list[str]] = {}
    for row in fitting:
        if find(row.label) is None:
            unknown.setdefault(row.label, []).append(row.place)
    for label, (place, *others) in unknown.items():
        more = f" (and {count_of(others, 'more line')} with it)" if others else ""
        file.problems.add(place, f"{known.why_unknown(label, are_indices)}{more}")
    if unknown and beside:
        file.problems.hint += f". Indices are named by {beside}; {OTHER_NAMES}"
    found = [find(row.label) for row in rows]
    labels = [-1 if label is None else label for label in found]
    names = known.names if known.names is not None else tuple(map(str, range(max(labels, default=-1) + 1)))
    alike = [] if class_names is not None else warn_alike(file.path, names)
    return labels, names, [*_unused(file, labels, names, vocabulary, beside), *alike]


def number_several(
    file: ListFile, listing: Listing, class_names: Sequence[str] | None
) -> tuple[list[tuple[int, ...]], tuple[str, ...], list[str]]:
    """Number the labels of a multi-label list, each of them as `number_labels` does.

    Returns:
        class indices of each row, rising, none where it has no class. Class names, warnings.
    """
    parts: list[list[str]] = []
    for row in listing.rows:
        try:
            parts.append(split_labels(row.label))
        except RowFault as fault:
            file.problems.add(row.place, str(fault))
            parts.append([])
    rows = [row._replace(label=label) for row, own in zip(listing.rows, parts, strict=True) for label in own]
    labels, names, warnings = number_labels(file, listing._replace(rows=rows), class_names)
    found = iter(labels)
    return [tuple(sorted({next(found) for _ in own})) for own in parts], names, warnings


def is_index(label: str) -> bool:
    """Return whether a label is written as a whole number."""
    return re.fullmatch(r"[+-]?[0-9]{1,18}", label) is not None


def warn_alike(where: Path, names: Sequence[str]) -> list[str]:
    """Return a warning that names the classes whose names read the same."""
    pairs = [f"{a!r} and {b!r}" for a, b in find_alike(names)]
    if not pairs:
        return []
    return [f"{where}: classes whose names read the same stay apart: {some(pairs)}; rename them if they are one"]


class _Known:
    """Class names known before a list is read: which names and which indices they have.

    Args:
        target: the names in whose order labels are numbered, where that is settled.
        vocabulary: the names in whose order the data set counts, where it has some.
    """

    def __init__(self, target: Sequence[str] | None, vocabulary: Vocabulary | None) -> None:
        own = vocabulary.names if vocabulary else None
        if target is not None and own is not None and _are_mere_numbers(own):
            own = None
        self.names = tuple(target) if target is not None else own
        named = self.names or ()
        if own is not None and _are_mere_numbers(named) and not set(own) <= set(named):
            named = own[: len(named)]
        self.by_name = {name: label for label, name in enumerate(named)}
        self._by_value = {int(name): label for name, label in self.by_name.items() if is_index(name)}
        # The class of each index; None: the data set has it, but it is none of the known ones.
        self.by_index: Sequence[int | None] = range(MAX_CLASSES if self.names is None else len(self.names))
        if own is not None:
            self.by_index = [self.by_name.get(name) for name in own]
        self.own, self.places = own or (), vocabulary.places if vocabulary else ()

    def of_index(self, text: str) -> int | None:
        return self.by_index[int(text)] if is_index(text) and 0 <= int(text) < len(self.by_index) else None

    def of_name(self, text: str) -> int | None:
        """Return the class of a name, or of a number of the same value (1 for 01), or None if there is none."""
        return self.by_name.get(text, self._by_value.get(int(text)) if is_index(text) else None)

    def why_unknown(self, text: str, as_index: bool) -> str:
        if not as_index:
            return f"unknown class {text!r}; known are {some(tuple(self.by_name))}"
        index, limit = int(text), len(self.by_index)
        if 0 <= index < limit:
            return f"unknown class {self.own[index]!r} ({self.places[index]}); known are {some(self.names or ())}"
        return f"class index {text} is out of range; must be 0 to {limit - 1}"


def _are_mere_numbers(names: Sequence[str]) -> bool:
    return all(name == str(label) for label, name in enumerate(names))


def _are_indices(texts: Mapping[str, str], labels_are: str, known: _Known, problems: Problems) -> bool:
    """Return whether labels are indices. It is an error if they can be names too that mean other classes."""
    first = next(iter(texts), "")
    if labels_are or not texts:
        return labels_are == "indices"
    # Nobody writes an index as 01, but classes are called so.
    is_padded = all(map(is_index, texts)) and any(re.match(r"[+-]?0[0-9]", text) for text in texts)
    if known.names is None:
        return is_index(first) and not is_padded
    if is_padded and all(text in known.by_name for text in texts):
        return False
    if any(known.of_index(text) is None for text in texts):
        return is_index(first) and any(text not in known.by_name for text in texts)
    differ = next((text for text in texts if known.of_name(text) not in (None, known.of_index(text))), None)
    if differ is not None and all(known.of_name(text) is not None for text in texts):
        by_name, by_index = (known.names[label or 0] for label in (known.of_name(differ), known.of_index(differ)))
        problems.add(
            texts[differ],
            f"label {differ!r} is class {by_name!r} as a name and class {by_index!r} as an index; say which: write a "
            "csv with the header path,class for names or path,class_index for indices",
        )
    return True


def _names_beside(path: Path) -> Path | None:
    if not path.is_file():  # a list in Python
        return None
    for name in CLASS_FILES:
        file = path.parent / name
        if file.is_file() and not file.samefile(path):
            return file
    return None


def _unused(
    file: ListFile, labels: list[int], names: tuple[str, ...], vocabulary: Vocabulary | None, beside: Path | None
) -> list[str]:
    """Return a warning that names the classes without a video, and the lines on which they stand.

    Where a file of names ``beside`` the list has twice as many as the list uses, it is rather that of another list.
    """
    used = set(labels)
    lacking = [label for label in range(len(names)) if label not in used]
    if not lacking:
        return []
    count, known = len(used - {-1}), set(vocabulary.names) if vocabulary else set()
    if beside and len(known) > 2 * count and known >= {names[label] for label in lacking}:
        return [f"class names from {beside} ({len(known)} of them, the list uses {count}); {OTHER_NAMES}"]
    places = dict(zip(vocabulary.names, vocabulary.places, strict=True)) if vocabulary else {}
    told = [f"{names[label]} ({places[names[label]]})" if names[label] in places else names[label] for label in lacking]
    share = f"{len(lacking)} of {len(names)} classes have" if len(lacking) > 1 else f"1 of {len(names)} classes has"
    return [f"{file.path}: {share} no video: {some(told)}"]
