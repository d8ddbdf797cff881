"""Class names in any script are drawn with the fonts of the machine, or become numbers with a note."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from videozoo.engine import fonts, plot_confusion, plots

NAMES = ("\u8df3\u821e", "\u30c0\u30f3\u30b9", "\ucda4", "Tanz", "caf\u00e9")


def _make_font(path: Path, letters: str) -> None:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Made Up", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def few_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has matplotlib's own fonts alone."""
    own = [entry for entry in font_manager.fontManager.ttflist if "DejaVu" in entry.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    save = plots.save_figure

    def keep(figure: Figure, path: Path, **how: Any) -> None:
        figures.append(figure)
        save(figure, path, **how)

    monkeypatch.setattr(plots, "save_figure", keep)
    return figures


@pytest.mark.usefixtures("few_fonts")
def test_a_font_of_the_machine_is_taken(tmp_path: Path, drawn: list[Figure], recwarn: pytest.WarningsRecorder) -> None:
    _make_font(tmp_path / "made_up.ttf", "".join(NAMES[:3]))
    font_manager.fontManager.addfont(tmp_path / "made_up.ttf")
    assert fonts.find_families(NAMES) == (["DejaVu Sans", "Made Up"], set())
    assert fonts.find_font_file(NAMES[0]) == str(tmp_path / "made_up.ttf")
    plot_confusion(tmp_path / "x.png", torch.eye(5, dtype=torch.int64), NAMES)
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert labels == list(NAMES)
    assert "Made Up" in drawn[0].axes[0].get_xticklabels()[0].get_fontfamily()
    assert not [str(one.message) for one in recwarn if "missing from" in str(one.message)]


@pytest.mark.usefixtures("few_fonts")
@pytest.mark.parametrize("count", [5, 70])
def test_without_such_a_font_there_are_numbers_and_a_note(
    tmp_path: Path, drawn: list[Figure], recwarn: pytest.WarningsRecorder, count: int
) -> None:
    names = [*NAMES, *(f"n{k}" for k in range(5, count))]
    plot_confusion(tmp_path / "x.png", torch.eye(count, dtype=torch.int64), names)
    axes = drawn[0].axes[0]
    assert "3 names are numbers: no font here has their letters" in axes.get_title()
    if count == 5:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["class 0", "class 1", "class 2", *NAMES[3:]]
    assert not [str(one.message) for one in recwarn if "missing from" in str(one.message)]


@pytest.mark.usefixtures("few_fonts")
def test_titles_that_no_font_has_are_drawn_with_question_marks() -> None:
    figure = Figure()
    figure.suptitle("\u8df3.mp4, caf\udce9")
    fonts.fit_fonts(figure)
    assert figure.get_suptitle() == "?.mp4, caf?"
