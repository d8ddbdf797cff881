"""``videozoo list``: lists architectures with size and cost, and published weights with accuracy."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from videozoo.catalog import Catalog, read_catalog, read_costs, select_names
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, print_result, print_text
from videozoo.text import columns_text

COMMAND = Command(
    help="list models and published weights with size, cost and accuracy",
    description="Print a line per model name ([AUGMENTER_]TEMPORAL_BACKBONE): parameters, GMACs per view, frames x "
    "size, number of published weights. With --pretrained print a line per NAME.TAG: data set, published top-1, frames "
    "x size, MB of the file. The header is printed on a terminal only.",
    epilog="Examples: `videozoo list 'arc_*'`, `videozoo list r50`, `videozoo list --pretrained k400`, "
    "`videozoo list | cut -d ' ' -f 1`",
    flags=(
        flag(
            "pattern",
            nargs="?",
            default="",
            metavar="PATTERN",
            help="name with wildcards * and ?, or a part of the name",
        ),
        switch("--pretrained", help="list published weights as NAME.TAG; the first of a NAME is its default"),
        switch("--json", help="print a JSON list of objects"),
    ),
)
_HEAD = ("name", "params", "GMACs", "clip", "weights")
_HEAD_PRETRAINED = ("name", "data set", "top-1", "clip", "MB")
_NUMBERS = ("params", "GMACs", "top-1", "MB")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    is_part = args.pattern and not any(sign in args.pattern for sign in "*?[")
    rows = _weights(_known()) if args.pretrained else _architectures(_known())
    names = select_names(list(rows), f"*{args.pattern}*" if is_part else args.pattern, "")
    if not names:
        what = "published weights" if args.pretrained else "model"
        flag = " --pretrained" * args.pretrained
        raise CommandError(f"no {what} named like {args.pattern!r}; `videozoo list{flag}` shows all {len(rows)}.")
    found = [{"name": name, **rows[name]} for name in names]
    if args.json:
        print_text(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    cells, head = (_weight_cells, _HEAD_PRETRAINED) if args.pretrained else (_cells, _HEAD)
    lines = columns_text(head, map(cells, found), _NUMBERS)
    for line in lines if sys.stdout.isatty() else lines[1:]:  # what reads a pipe wants names alone in front
        print_result(line)
    return 0


def _known() -> Catalog:
    """Return all architectures and weights, or the names alone from the registry if the file is out of date."""
    catalog = read_catalog()
    if catalog is not None:
        return catalog
    import videozoo

    names: dict[str, dict[str, dict[str, Any]]] = {arch: {} for arch in videozoo.list_models()}
    for name in videozoo.list_pretrained():
        arch, _, tag = name.partition(".")
        names[arch][tag] = {}
    return names


def _architectures(catalog: Catalog) -> dict[str, dict[str, Any]]:
    costs = read_costs()
    rows: dict[str, dict[str, Any]] = {}
    for arch, tags in catalog.items():
        cost = costs.get(arch, {})
        _, frames, *size = cost.get("clip_shape") or (None, None)
        rows[arch] = {
            "params": cost.get("params"),
            "macs": cost.get("macs"),
            "frames": frames,
            "size": size or None,
            "weights": [f"{arch}.{tag}" for tag in tags],
        }
    return rows


def _weights(catalog: Catalog) -> dict[str, dict[str, Any]]:
    keys = ("dataset", "top1", "frames", "size", "bytes")
    return {
        f"{arch}.{tag}": {key: facts.get(key) for key in keys}
        for arch, tags in catalog.items()
        for tag, facts in tags.items()
    }


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        row["name"],
        "" if row["params"] is None else f"{row['params'] / 1e6:.2f}M",
        "" if row["macs"] is None else f"{row['macs'] / 1e9:.2f}",
        _clip(row),
        str(len(row["weights"]) or ""),
    )


def _weight_cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        row["name"],
        row["dataset"] or "",
        "" if row["top1"] is None else f"{100 * row['top1']:.2f}",
        _clip(row),
        "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}",
    )


def _clip(row: dict[str, Any]) -> str:
    return f"{row['frames']} x {row['size'][0]}x{row['size'][1]}" if row["frames"] and row["size"] else ""
