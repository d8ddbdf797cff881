"""Fonts for names in any script: matplotlib's own has no Chinese, Japanese or Korean letters."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager, get_data_path
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

_OWN = "DejaVu Sans"
# Tried before all others of this machine, as they have most letters.
_LIKELY = ("cjk", "gothic", "hei", "ming", "song", "han", "nanum", "malgun", "hiragino", "droid", "unicode", "noto")


def find_families(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Find fonts with the letters of some texts: matplotlib's own, and others of this machine.

    Returns:
        names of the fonts, for matplotlib to take each letter from the first that has it. Letters that none has.
    """
    own = _letters(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")))
    lacking = {letter for text in texts for letter in text if not letter.isspace() and ord(letter) not in own}
    families = [_OWN]
    for entry in _candidates() if lacking else []:
        found = {letter for letter in lacking if ord(letter) in _letters(entry.fname)}
        if found:
            families.append(entry.name)
            lacking -= found
        if not lacking:
            break
    return families, lacking


def find_font_file(text: str) -> str | None:
    """Return the file of a font that has all letters of a text.

    None: there is none.
    """
    letters = {letter for letter in text if not letter.isspace()}
    own = str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    files = [own, *(entry.fname for entry in _candidates())]
    return next((file for file in files if all(ord(letter) in _letters(file) for letter in letters)), None)


def number_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Replace class names that no font of this machine can draw by numbers.

    Returns:
        the names, and a note on what was numbered (empty if nothing was).
    """
    lacking = find_families(names)[1]
    shown = [f"class {k}" if lacking.intersection(name) else name for k, name in enumerate(names)]
    count = sum(a != b for a, b in zip(shown, names, strict=True))
    return shown, f"{count} names are numbers: no font here has their letters" if count else ""


def fit_fonts(figure: Figure) -> None:
    """Give each text of a figure the fonts that it needs.

    Letters that none has become question marks.
    """
    for axes in figure.axes:
        for labels in (axes.get_xticklabels, axes.get_yticklabels):
            labels()  # which writes them
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().isascii():
            continue
        families, lacking = find_families([text.get_text()])
        if lacking:
            text.set_text("".join("?" if letter in lacking else letter for letter in text.get_text()))
        if len(families) > 1:
            own = text.get_fontfamily()
            text.set_fontfamily([*(own if isinstance(own, list) else [own]), *families[1:]])


def _candidates() -> list[font_manager.FontEntry]:
    """Return upright fonts of this machine, the likely ones first, without those that draw boxes."""
    upright = {
        entry.name: entry
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and "last resort" not in entry.name.lower()
    }

    def rank(entry: font_manager.FontEntry) -> tuple[bool, str]:
        return not any(word in entry.name.lower() for word in _LIKELY), entry.name

    return sorted(upright.values(), key=rank)


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
