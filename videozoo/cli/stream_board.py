"""Display of a stream's predictions: one line each, JSON, or a board drawn in place on a terminal."""

import argparse
import contextlib
import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from videozoo.cli.console import print_result
from videozoo.text import printable

DRAW_SEC = 0.05  # a terminal is drawn no more often
BAR_CELLS = 24


@dataclass
class Tally:
    """Counts of the frames so far."""

    source: str
    num_frames: int = 0
    num_dropped: int = 0
    time_sec: float = 0.0
    latency_sec: float = 0.0
    _start: float = field(default_factory=time.perf_counter)
    _total_sec: float = 0.0

    def count(self, time_sec: float, latency_sec: float, num_dropped: int) -> None:
        """Count a frame."""
        if not self.num_frames:
            self._start = time.perf_counter() - latency_sec
        self.num_frames += 1
        self.time_sec, self.latency_sec, self.num_dropped = time_sec, latency_sec, num_dropped
        self._total_sec += latency_sec

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.num_frames / max(time.perf_counter() - self._start, 1e-9)

    def __str__(self) -> str:
        mean = 1000 * self._total_sec / max(self.num_frames, 1)
        return (
            f"{self.source}: {self.num_frames} frames, {self.fps:.1f} a second, {mean:.1f} ms each, "
            f"{self.num_dropped} dropped"
        )


def open_display(
    args: argparse.Namespace, tally: Tally, stack: contextlib.ExitStack
) -> Callable[[list[dict[str, Any]] | None], None]:
    """Return the function that displays a prediction.

    It is called with None at the end.
    """
    if args.json:

        def say_json(best: list[dict[str, Any]] | None) -> None:
            if best is not None:
                facts = {"time": round(tally.time_sec, 3), "latency_ms": round(1000 * tally.latency_sec, 2)}
                row = {**facts, "dropped": tally.num_dropped, "predictions": best}
                print_result(json.dumps(row, ensure_ascii=False))

        return say_json
    if not sys.stdout.isatty():

        def say_line(best: list[dict[str, Any]] | None) -> None:
            if best is not None:
                print_result(f"{tally.time_sec:8.2f} s  {best[0]['score']:6.1%}  {printable(best[0]['class'])}")

        return say_line
    sys.stdout.write("\x1b[?25l")  # without a cursor
    stack.callback(_give_back_cursor)
    return _Board(tally).show


def _give_back_cursor() -> None:
    sys.stdout.write("\x1b[?25h")
    sys.stdout.flush()


class _Board:
    """Lines of a terminal that are redrawn in place."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._height = 0
        self._drawn = 0.0
        self._best: list[dict[str, Any]] | None = None

    def show(self, best: list[dict[str, Any]] | None) -> None:
        """Draw, unless the last drawing was a moment ago.

        None: draw the last answer.
        """
        is_end = best is None
        self._best = best if best is not None else self._best
        if self._best is None or (not is_end and time.monotonic() - self._drawn < DRAW_SEC):
            return
        self._drawn = time.monotonic()
        lines = board(self._best, self.tally, shutil.get_terminal_size().columns)
        up = f"\x1b[{self._height}F" if self._height else ""
        sys.stdout.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
        sys.stdout.flush()
        self._height = len(lines)


def board(best: list[dict[str, Any]], tally: Tally, columns: int) -> list[str]:
    """Return a line on the stream and one per class, none wider than the terminal."""
    head = (
        f"{tally.time_sec:.1f} s  {tally.fps:.1f} frames/s  {1000 * tally.latency_sec:.1f} ms  "
        f"dropped {tally.num_dropped}  {printable(tally.source)}"
    )
    cells = min(BAR_CELLS, max(columns // 3, 1))
    rows = [f"{row['score']:6.1%} {_bar(row['score'], cells)} {printable(row['class'])}" for row in best]
    return [_cut(line, columns - 1) for line in (head, *rows)]


def _bar(score: float, cells: int) -> str:
    eighths = round(score * cells * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return bar.ljust(cells)


def _cut(text: str, cells: int) -> str:
    """Return as much of the text as fits in that many cells. East Asian letters take two."""
    width = 0
    for place, letter in enumerate(text):
        width += 0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        if width > cells:
            return text[:place]
    return text
