"""``videozoo list``: lists architectures with size and cost, and published weights with accuracy."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from videozoo.catalog import DATA_SETS, SORTS, Catalog, read_catalog, read_costs, select_names, select_rows
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, print_result, print_text
from videozoo.text import columns_text

COMMAND = Command(
    help="list models and published weights with size, cost and accuracy",
    description="Print a line per model name ([AUGMENTER_]TEMPORAL_BACKBONE): parameters, GMACs per view, frames x "
    "size, number of published weights. With --pretrained print a line per NAME.TAG: data set, published top-1, "
    "GMACs per view, views of the published test (clips x crops), frames x size, parameters, MB of the file, license. "
    "The header is printed on a terminal only.",
    epilog="Examples: `videozoo list 'arc_*'`, `videozoo list r50 --sort gmacs`, `videozoo list --pretrained "
    "--data-set k400 --max-gmacs 100 --sort top1`, `videozoo list | cut -d ' ' -f 1`",
    flags=(
        flag(
            "pattern",
            nargs="?",
            default="",
            metavar="PATTERN",
            help="name with wildcards * and ?, or a part of the name",
        ),
        switch("--pretrained", help="list published weights as NAME.TAG; the first of a NAME is its default"),
        flag("--data-set", metavar="NAME", help=f"with --pretrained: {', '.join(DATA_SETS)} or a full name"),
        flag("--max-gmacs", type=float, metavar="N", help="most GMACs per view"),
        flag("--max-params", type=float, metavar="N", help="most millions of parameters"),
        flag(
            "--sort",
            choices=SORTS,
            help="top1 (the highest first), gmacs, params or mb (the lowest first); top1 and mb with --pretrained",
        ),
        switch("--json", help="print a JSON list of objects"),
    ),
)
_HEAD = ("name", "params", "GMACs", "clip", "weights")
_HEAD_PRETRAINED = ("name", "data set", "top-1", "GMACs", "views", "clip", "params", "MB", "license")
_NUMBERS = ("params", "GMACs", "top-1", "MB")
_OF_WEIGHTS = ("top1", "mb")  # orders that architectures do not have


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    is_part = args.pattern and not any(sign in args.pattern for sign in "*?[")
    rows = _weights(_known()) if args.pretrained else _architectures(_known())
    names = _select(rows, f"*{args.pattern}*" if is_part else args.pattern, args)
    found = [{"name": name, **rows[name]} for name in names]
    if args.json:
        print_text(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    cells, head = (_weight_cells, _HEAD_PRETRAINED) if args.pretrained else (_cells, _HEAD)
    lines = columns_text(head, map(cells, found), _NUMBERS)
    for line in lines if sys.stdout.isatty() else lines[1:]:  # what reads a pipe wants names alone in front
        print_result(line)
    return 0


def _select(rows: dict[str, dict[str, Any]], pattern: str, args: argparse.Namespace) -> list[str]:
    """Return the names that fit the pattern and the limits.

    Raises:
        CommandError: none does, or a flag is for weights only.
    """
    if not args.pretrained and (args.data_set or args.sort in _OF_WEIGHTS):
        flag = "--data-set" if args.data_set else f"--sort {args.sort}"
        raise CommandError(f"{flag} is for weights; add --pretrained.")
    limits = {name: getattr(args, name) for name in ("data_set", "max_gmacs", "max_params", "sort")}
    try:
        fitting = select_rows(rows, **limits)
    except ValueError as error:
        raise CommandError(str(error)) from error
    found = set(select_names(list(rows), pattern, ""))
    if names := [name for name in fitting if name in found]:
        return names
    what = "published weights" if args.pretrained else "model"
    named = f" named like {args.pattern!r}" if args.pattern else ""
    within = " within these limits" if found else ""
    flag = " --pretrained" * args.pretrained
    raise CommandError(f"no {what}{named}{within}; `videozoo list{flag}` shows all {len(rows)}.")


def _known() -> Catalog:
    """Return all architectures and weights, or what the registry knows of them if the file is out of date."""
    catalog = read_catalog()
    if catalog is not None:
        return catalog
    import videozoo
    from videozoo.models.registry import weights_facts

    names: dict[str, dict[str, dict[str, Any]]] = {arch: {} for arch in videozoo.list_models()}
    for name, facts in weights_facts().items():
        arch, _, tag = name.partition(".")
        names[arch][tag] = facts
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
    keys = ("dataset", "top1", "macs", "views", "frames", "size", "params", "bytes", "license")
    return {
        f"{arch}.{tag}": {key: facts.get(key) for key in keys}
        for arch, tags in catalog.items()
        for tag, facts in tags.items()
    }


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return row["name"], _params(row), _gmacs(row), _clip(row), str(len(row["weights"]) or "")


def _weight_cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        *(row["name"], row["dataset"] or "", "" if row["top1"] is None else f"{100 * row['top1']:.2f}", _gmacs(row)),
        *(row["views"] or "", _clip(row), _params(row)),
        *("" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}", row["license"] or ""),
    )


def _params(row: dict[str, Any]) -> str:
    return "" if row["params"] is None else f"{row['params'] / 1e6:.2f}M"


def _gmacs(row: dict[str, Any]) -> str:
    return "" if row["macs"] is None else f"{row['macs'] / 1e9:.2f}"


def _clip(row: dict[str, Any]) -> str:
    return f"{row['frames']} x {row['size'][0]}x{row['size'][1]}" if row["frames"] and row["size"] else ""
