"""The architectures and weights with what `videozoo list` says of them, without the libraries that build them.

``models/names.json`` holds what ``models/zoo.py`` and ``models/public_weights.json`` register, and the hash of both:
once one of them has changed, the names are asked from the registry again. Sizes and costs of the architectures are in
``report/zoo_costs.json``. Scripts write both files and tests compare them with what they are made of.
"""

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["NAMES_FILE", "Catalog", "catalog_text", "read_catalog", "read_costs", "select_names"]

_MODELS = Path(__file__).parent / "models"
_COSTS = Path(__file__).parent / "report" / "zoo_costs.json"
NAMES_FILE = _MODELS / "names.json"

# Architectures in natural order; their tags, the default one first; of each tag dataset, top1, frames, size and bytes.
Catalog = Mapping[str, Mapping[str, Mapping[str, Any]]]


def read_catalog() -> Catalog | None:
    """Return the architectures in natural order with the tags of their weights, or None if the file is out of date."""
    try:
        content = json.loads(NAMES_FILE.read_text(encoding="utf-8"))
        names: Catalog = content["names"]
        return names if content["made_of"] == _digest() else None
    except (OSError, ValueError, KeyError):
        return None


def read_costs() -> dict[str, dict[str, Any]]:
    """Return ``clip_shape`` (C, T, H, W), ``params`` and ``macs`` of a view by architecture, empty if unreadable."""
    try:
        costs: dict[str, dict[str, Any]] = json.loads(_COSTS.read_text(encoding="utf-8"))
        return costs
    except (OSError, ValueError):
        return {}


def catalog_text(names: Catalog) -> str:
    """Return the content of the file for these names."""
    rows = []
    for arch, tags in names.items():
        lines = ",".join(f"\n    {json.dumps(tag)}: {json.dumps(facts)}" for tag, facts in tags.items())
        rows.append(f"  {json.dumps(arch)}: {{{lines}}}")
    return f'{{"made_of": "{_digest()}", "names": {{\n' + ",\n".join(rows) + "\n}}\n"


def select_names(names: Sequence[str], filter: str | Sequence[str], exclude_filters: str | Sequence[str]) -> list[str]:
    """Return the names that fit a wildcard pattern, or one of several, and none of those that exclude.

    Args:
        names: ``arch`` or ``arch.tag``. A pattern may be of the whole name or of the architecture.
        filter: empty for all.
        exclude_filters: empty for none.
    """
    for option, value in (("filter", filter), ("exclude_filters", exclude_filters)):
        if value and not isinstance(value, str | Sequence):
            raise TypeError(f"{option} is {value!r}; pass a pattern such as 'tsm_*', or a list of patterns.")
    kept = [name for name in names if not filter or _fits(name, filter)]
    return [name for name in kept if not exclude_filters or not _fits(name, exclude_filters)]


def _fits(name: str, patterns: str | Sequence[str]) -> bool:
    rows = [patterns] if isinstance(patterns, str) else patterns
    arch = name.partition(".")[0]
    return any(fnmatch.fnmatchcase(name, row) or fnmatch.fnmatchcase(arch, row) for row in rows)


def _digest() -> str:
    texts = [(_MODELS / file).read_text(encoding="utf-8") for file in ("zoo.py", "public_weights.json")]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
