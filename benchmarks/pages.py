"""What every benchmark does: run ways of doing a thing in turns, and write the figures and the page about them."""

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
    """Seconds of each way in each round: other work on the machine hits all of them.

    Args:
        ways: what is timed, by name.
        rounds: how often each is timed.
        clock: of the wall, or of the processor.
        warm: rounds before, which do not count.
        pause_sec: rest before each.
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
    """The lines of a Markdown table."""
    named = f"| {' | '.join(head)} |".replace("|  |", "| |")
    return [named, "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def as_json(result: dict[str, Any]) -> str:
    """JSON with the times of a row on one line."""
    return (
        re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(result, indent=1)) + "\n"
    )


def write(path: Path, content: str | bytes) -> None:
    """Write a file, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def write_both(path: Path, result: dict[str, Any], page: str) -> None:
    """Write the figures as ``path`` and the page beside them, and show the page."""
    write(path, json.dumps(result, indent=1) + "\n")
    write(path.with_suffix(".md"), page)
    print(page)
