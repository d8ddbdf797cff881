"""Comparison of the job that a file belongs to with the one that is asked for."""

import json
from pathlib import Path
from typing import Any

from .errors import JobError

__all__ = ["check_same_job", "find_difference"]


def check_same_job(found: dict[str, Any], wanted: dict[str, Any], where: Path) -> None:
    """Refuse to mix two jobs.

    Raises:
        JobError: names the first thing that differs.
    """
    key = find_difference(found, wanted)
    if key is not None:
        raise JobError(
            f"{where}: belongs to another run ({key.replace('_', ' ')}: {_short(found.get(key))}, now "
            f"{_short(wanted[key])}); remove it, or give another --output."
        )


def find_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """Return the first thing that one job depends on and the other has otherwise, None where they are the same."""
    found = {"spec": wanted.get("spec"), **found}  # files of earlier versions do not name it
    return next((key for key in wanted if found.get(key) != wanted[key]), None)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:16]}...{text[-8:]}"
