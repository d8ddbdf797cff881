"""The names of architectures and weights without the libraries that build them, so that a list of names is quick.

``models/names.json`` holds what ``models/zoo.py`` and ``models/public_weights.json`` register, and the hash of both:
once one of them has changed, the names are asked from the registry again.
"""

import fnmatch
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

__all__ = ["NAMES_FILE", "catalog_text", "read_names", "select_names"]

_MODELS = Path(__file__).parent / "models"
NAMES_FILE = _MODELS / "names.json"


def read_names() -> dict[str, list[str]] | None:
    """Return the architectures in natural order with the tags of their weights; None where the file is out of date."""
    try:
        content = json.loads(NAMES_FILE.read_text(encoding="utf-8"))
        names: dict[str, list[str]] = content["names"]
        return names if content["made_of"] == _digest() else None
    except (OSError, ValueError, KeyError):
        return None


def catalog_text(names: dict[str, list[str]]) -> str:
    """Return the content of the file for these names."""
    rows = ",\n".join(f"  {json.dumps(arch)}: {json.dumps(tags)}" for arch, tags in names.items())
    return f'{{"made_of": "{_digest()}", "names": {{\n{rows}\n}}}}\n'


def select_names(names: Sequence[str], filter: str | Sequence[str], exclude_filters: str | Sequence[str]) -> list[str]:
    """Return the names that fit a wildcard pattern, or one of several, and none of those that exclude.

    Args:
        names: ``arch`` or ``arch.tag``; a pattern may be of the whole name or of the architecture.
        filter: empty for all.
        exclude_filters: empty for none.
    """
    kept = [name for name in names if not filter or _fits(name, filter)]
    return [name for name in kept if not exclude_filters or not _fits(name, exclude_filters)]


def _fits(name: str, patterns: str | Sequence[str]) -> bool:
    rows = [patterns] if isinstance(patterns, str) else patterns
    arch = name.partition(".")[0]
    return any(fnmatch.fnmatchcase(name, row) or fnmatch.fnmatchcase(arch, row) for row in rows)


def _digest() -> str:
    texts = [(_MODELS / file).read_text(encoding="utf-8") for file in ("zoo.py", "public_weights.json")]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
