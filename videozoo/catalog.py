"""The architectures and weights with what `videozoo list` says of them, without the libraries that build them.

``models/names.json`` holds what ``models/zoo.py`` and ``models/public_weights.json`` register, and the hash of both:
once one of them has changed, the names are asked from the registry again. Sizes and costs of the architectures are in
``report/zoo_costs.json``. Scripts write both files and tests compare them with what they are made of.
"""

import fnmatch
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "DATA_SETS",
    "NAMES_FILE",
    "SORTS",
    "Catalog",
    "catalog_text",
    "read_catalog",
    "read_costs",
    "select_names",
    "select_rows",
]

_MODELS = Path(__file__).parent / "models"
_COSTS = Path(__file__).parent / "report" / "zoo_costs.json"
_SOURCES = ("zoo.py", "public_weights.json", "own_weights.json")
NAMES_FILE = _MODELS / "names.json"

# Architectures in natural order; their tags, the default one first; of each tag dataset, top1, frames, size, views and
# license, and of the model with its classes macs (of a view), params and bytes.
Catalog = Mapping[str, Mapping[str, Mapping[str, Any]]]

# Short names of data sets, as they are in tags.
DATA_SETS = {
    **{f"k{classes}": f"Kinetics-{classes}" for classes in (400, 600, 700, 710)},
    **{"ssv1": "Something-Something V1", "ssv2": "Something-Something V2"},
    **{"motions": "videozoo's generated motions", "strokes": "MSR-Action3D, strokes"},
}
# The field of a row by which each name sorts, and whether the largest comes first.
SORTS = {"top1": ("top1", True), "gmacs": ("macs", False), "params": ("params", False), "mb": ("bytes", False)}


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


def select_rows(
    rows: Mapping[str, Mapping[str, Any]],
    *,
    data_set: str | None = None,
    max_gmacs: float | None = None,
    max_params: float | None = None,
    sort: str | None = None,
) -> list[str]:
    """Return the names of the rows that fit all limits, in the order of a figure.

    A row without the figure fits no limit on it, and comes last in its order. Rows with the same figure keep theirs.

    Args:
        rows: of names, with the fields that a `Catalog` has of a tag.
        data_set: one of ``DATA_SETS``, or its full name.
        max_gmacs: most billions of MACs of a view.
        max_params: most millions of parameters.
        sort: one of ``SORTS``.
    Raises:
        ValueError: an unknown data set or order, or a limit that is no number above zero.
    """
    _check_limits({"GMACs": max_gmacs, "millions of parameters": max_params})
    names = list(rows)
    if data_set is not None:
        full = _full_name(data_set, {str(row.get("dataset") or "") for row in rows.values()})
        names = [name for name in names if rows[name].get("dataset") == full]
    for field, most in (("macs", max_gmacs and max_gmacs * 1e9), ("params", max_params and max_params * 1e6)):
        if most is not None:
            names = [name for name in names if (rows[name].get(field) or math.inf) <= most]
    if sort is None:
        return names
    if sort not in SORTS:
        raise ValueError(f"cannot sort by {sort!r}; choose {', '.join(SORTS)}.")
    field, is_falling = SORTS[sort]
    sign = -1 if is_falling else 1
    figures: dict[str, float] = {name: sign * rows[name][field] for name in names if rows[name].get(field) is not None}
    return sorted(figures, key=figures.__getitem__) + [name for name in names if name not in figures]


def _check_limits(limits: Mapping[str, Any]) -> None:
    for what, most in limits.items():
        if most is not None and (isinstance(most, bool) or not isinstance(most, int | float) or not most > 0):
            raise ValueError(f"the limit on {what} is {most!r}; give a number above 0.")


def _full_name(data_set: str, known: set[str]) -> str:
    """Return the full name of a data set, from any spelling of its short or its full name."""
    short = str(data_set).lower()
    full = DATA_SETS.get(short) or next((name for name in known if name.lower() == short), None)
    if full not in known:
        names = [key for key, name in DATA_SETS.items() if name in known]
        names += sorted(known - set(DATA_SETS.values()) - {""})
        raise ValueError(f"no weights of the data set {data_set!r}; choose {', '.join(names)}.")
    return full


def _fits(name: str, patterns: str | Sequence[str]) -> bool:
    rows = [patterns] if isinstance(patterns, str) else patterns
    arch = name.partition(".")[0]
    return any(fnmatch.fnmatchcase(name, row) or fnmatch.fnmatchcase(arch, row) for row in rows)


def _digest() -> str:
    texts = [(_MODELS / file).read_text(encoding="utf-8") for file in _SOURCES]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
