"""Functions that all benchmarks share: time alternatives in turns, write figures and pages."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["as_json", "in_turns", "table", "write", "write_both"]


def in_turns(
    ways: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    warm: int = 0,
    pause_sec: float = 0.0,
) -> dict[str, list[float]]:
    """Return the seconds of each alternative per round. They take turns, so that other work slows all of them alike.

    Args:
        ways: the alternatives by name.
        rounds: number of times that each is timed.
        clock: wall clock or processor time, in seconds.
        warm: warm-up rounds, which are not returned.
        pause_sec: pause before each call.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(warm + rounds):
        for name, way in ways.items():
            time.sleep(pause_sec)
            start = clock()
            way()
            if step >= warm:
                times[name].append(clock() - start)
    return times


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    named = f"| {' | '.join(head)} |".replace("|  |", "| |")
    return [named, "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def as_json(result: dict[str, Any]) -> str:
    """Return JSON with each list of numbers on one line."""
    return (
        re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(result, indent=1)) + "\n"
    )


def write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def write_both(path: Path, result: dict[str, Any], page: str) -> None:
    """Write the figures to ``path`` and the page next to it, and print the page."""
    write(path, json.dumps(result, indent=1) + "\n")
    write(path.with_suffix(".md"), page)
    print(page)
