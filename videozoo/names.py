"""Class names: one spelling for each, and which texts are refused as names."""

import unicodedata
from collections.abc import Sequence

from videozoo.text import is_printable

MAX_NAME = 1000


def clean_name(name: str) -> str:
    """Return a class name in its one spelling: composed letters (NFC), plain spaces, no space at the ends."""
    if not name.isascii():
        # A no-break or an ideographic space looks like a plain one.
        plain = "".join(" " if unicodedata.category(char) == "Zs" else char for char in name)
        name = unicodedata.normalize("NFC", plain)
    return name.strip(" ")


def find_name_fault(name: str) -> str:
    """Return why a cleaned text can be no class name, as words that follow the name, empty if it can."""
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters; names have up to {MAX_NAME}"
    # The most common case first; what Python does not call printable may still be (joiners).
    bad = None if name.isprintable() else next((char for char in name if not is_printable(char)), None)
    if bad is None:
        return ""
    if "\ud800" <= bad <= "\udfff":
        return "is not UTF-8 text"
    return f"has control characters or line breaks ({bad!a})"


def clean_names(names: Sequence[str], where: str = "class names") -> tuple[str, ...]:
    """Return the class names of a list in their one spelling.

    Args:
        names: a name for each class.
        where: what holds them, for the error. The number of the name, from 1, is put behind it.
    Raises:
        ValueError: no names, an empty one, one of several lines or with other control characters, one that is not
            UTF-8 or too long, or one that comes twice.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"{where}: got {names!r}, needs at least one class name.")
    seen: dict[str, int] = {}
    for number, given in enumerate(names, 1):
        if not isinstance(given, str):
            raise ValueError(f"{where}:{number}: class name {given!r} is no text.")
        name = clean_name(given)
        fault = find_name_fault(name)
        if fault:
            raise ValueError(f"{where}:{number}: class name {shorten(given)} {fault}.")
        if name in seen:
            raise ValueError(
                f"{where}:{number}: class name {shorten(name)} again (first at {seen[name]}); names must differ."
            )
        seen[name] = number
    return tuple(seen)


def find_alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of different class names that read the same: but for case, width of letters or number of spaces."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
        visible = "".join(char for char in plain if unicodedata.category(char) != "Cf")
        key = " ".join(visible.casefold().split())
        if first.setdefault(key, name) != name:
            pairs.append((first[key], name))
    return pairs


def shorten(text: str) -> str:
    """Return the text in quotes, with control characters escaped, cut to 80 characters."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
