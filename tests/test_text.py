"""Tests of escaping text from outside for the terminal."""

import csv
import io
import json
from pathlib import Path

import pytest

from videozoo.names import clean_names
from videozoo.text import cause, csv_text, is_printable, printable

READABLE = (
    "Tanz", "跳舞", "ダンス", "नृत्य", "رقص", "می‌خواهم", "ריקוד", "танец", "e\u0301", "a\u00a0b", "👨‍👩‍👧", "ไทย",
)  # fmt: skip
BAD = (
    "\x1b[2J",
    "\x07",
    "\x9b31m",
    "\x85",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u2028",
    "\u2029",
    "\r",
    "\x0b",
    "\ud800",
    "\0",
)


@pytest.mark.parametrize("text", READABLE)
def test_readable_text_stays(text: str) -> None:
    assert printable(text) == text
    assert is_printable(text)
    clean_names([text])


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_control_characters_are_escaped(text: str) -> None:
    shown = printable(f"a{text}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{text}b"  # so JSON that is printed stays the same JSON
    assert not is_printable(text)
    with pytest.raises(ValueError, match=":2: class name"):
        clean_names(["fine", f"a{text}b"])


def test_line_breaks_are_optional() -> None:
    assert printable("a\nvideozoo: error: b\n  c") == "a\\nvideozoo: error: b\\n  c"
    assert printable("a\nvideozoo: error: b\n  c", "indented") == "a\\nvideozoo: error: b\n  c"
    assert printable('{\n  "a": 1\n}', "all") == '{\n  "a": 1\n}'


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    assert printable("é 走", encoding="ascii") == "\\u00e9 \\u8d70"
    assert printable("é", encoding="latin-1") == "é"


@pytest.mark.parametrize("names", [["a", ""], ["a", " "], ["a", "b", "a"], ["x" * 2000], ["a", 3]], ids=str)
def test_class_names_that_no_model_may_have(names: list[str]) -> None:
    with pytest.raises(ValueError, match="class name"):
        clean_names(names)


def test_csv_is_read_as_it_was_written() -> None:
    rows = [["a\rb", "1"], ["a\nb", "2"], ["a\r\n", ""], ['q"', "a,b"], ["plain", " x "]]
    text = csv_text(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert text.endswith("\nplain, x \n")


def test_a_path_that_the_system_repeats_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "a").read_bytes()
    assert cause(caught.value) == "No such file or directory"
    assert cause(ValueError("x")) == "x"
