"""Class names, file names and messages of libraries reach the terminal without control characters or forged lines."""

import logging
import sys
import warnings
from pathlib import Path

import pytest

from videozoo.cli import console, main

NASTY = "\x1b]0;pwned\x07\x9b31m\u202e\nvideozoo: error: forged\r\u2028x"


def _assert_clean(text: str) -> None:
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.lstrip().startswith("videozoo: error: forged") for line in lines)
    assert "pwned" in text


def _warn() -> None:
    sys.stderr.write(warnings.formatwarning(UserWarning(NASTY), UserWarning, "file.py", 1))  # as warnings.warn does


def _show_bar() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(sys.stderr), "isatty", lambda _: True)
        with console.progress_bar(3, NASTY) as show:
            show(1, 0)


def _show_lines() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "LOG_SEC", 0)
        with console.progress_bar(3, NASTY) as show:
            show(1, 0)


def test_a_log_file_is_not_filled_with_bars(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with console.progress_bar(300) as show:
        for done in range(300):
            show(done, 0)
    assert capfd.readouterr().err == ""  # a short run
    monkeypatch.setattr(console, "LOG_SEC", 0)
    with console.progress_bar(300) as show:
        show(10, 0)
        show(20, 3)
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("10 of 300 videos")
    assert second.startswith("20 of 300 videos, 3 broken")


@pytest.mark.parametrize(
    "speak",
    [
        lambda: console.print_result(NASTY),
        lambda: console.print_status(NASTY),
        lambda: console.print_error(NASTY),
        lambda: logging.getLogger("videozoo.hub").warning("%s", NASTY),
        _warn,
        _show_bar,
        _show_lines,
    ],
    ids=["say", "note", "error", "log", "warning", "bar", "progress"],
)
def test_nothing_from_outside_commands_the_terminal(
    speak: object, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> int:
        console.show_log()
        speak()  # type: ignore[operator]
        return 0

    log = logging.getLogger("videozoo")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    assert console.answer(work) == 0
    out, err = capfd.readouterr()
    _assert_clean(out + err)


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "--model", "test_arc_tsm.motions"],
        ["info"],
        ["list"],
        ["evaluate", "--scores"],
        ["convert", "--output", "none", "--num-classes"],
    ],
    ids=lambda argv: argv[0],
)
def test_a_name_on_the_command_line_is_shown_escaped(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, NASTY]) in (1, 2)
    out, err = capfd.readouterr()
    _assert_clean(out + err)


def test_a_traceback_is_clean_too(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_DEBUG", "1")

    def fail() -> int:
        raise RuntimeError(NASTY)

    assert console.answer(fail) == 2
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert all(line.isprintable() for line in err.splitlines())


def test_letters_of_any_language_are_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", "test_arc_tsm.motions", str(tmp_path / "跳舞 e\u0301\u00a0رقص.mp4")]) == 1
    assert "跳舞 e\u0301\u00a0رقص.mp4" in capfd.readouterr().err
