"""``videozoo list``: the names of the architectures."""

import argparse
import json

from videozoo.catalog import read_names, select_names
from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import CommandError, say

COMMAND = Command(
    help="names of the networks",
    description="The names that --model takes, one a line: [AUGMENTER_]TEMPORAL_BACKBONE.",
    epilog="Examples: `videozoo list 'arc_*'`, `videozoo list r50`, `videozoo list --pretrained k400`",
    flags=(
        flag("pattern", nargs="?", default="", metavar="PATTERN", help="wildcards * and ?, or a part of the name"),
        switch("--pretrained", help="published weights instead, NAME.TAG; the first of a NAME is its default"),
        switch("--json", help="print a JSON list"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Print the names."""
    is_part = args.pattern and not any(sign in args.pattern for sign in "*?[")
    known = _known_names(args.pretrained)
    names = select_names(known, f"*{args.pattern}*" if is_part else args.pattern, "")
    if not names and not args.json:
        what = "published weights" if args.pretrained else "network"
        flag = " --pretrained" * args.pretrained
        raise CommandError(f"no {what} named like {args.pattern!r}; `videozoo list{flag}` shows all {len(known)}.")
    if args.json:
        say(json.dumps(names))
    for name in names if not args.json else ():
        say(name)
    return 0


def _known_names(are_weights: bool) -> list[str]:
    """All architectures, or all weights; from the registry where the file of names is out of date."""
    names = read_names()
    if names is None:
        import videozoo

        return videozoo.list_pretrained() if are_weights else videozoo.list_models()
    return [f"{arch}.{tag}" for arch, tags in names.items() for tag in tags] if are_weights else list(names)
