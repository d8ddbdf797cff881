"""``videozoo list``: the names of the architectures."""

import argparse
import json

from videozoo.cli.console import CommandError, Parser, say


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "list",
        help="names of the networks",
        description="The names that --model takes, one a line: [AUGMENTER_]TEMPORAL_BACKBONE.",
        epilog="Examples: `videozoo list 'arc_*'`, `videozoo list r50`, `videozoo list --pretrained k400`",
    )
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="wildcards * and ?, or a part of the name"
    )
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="published weights instead, NAME.TAG; the first of a NAME is its default",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the names."""
    import videozoo

    is_part = args.pattern and not any(sign in args.pattern for sign in "*?[")
    list_names = videozoo.list_pretrained if args.pretrained else videozoo.list_models
    names = list_names(f"*{args.pattern}*" if is_part else args.pattern)
    if not names and not args.json:
        what = "published weights" if args.pretrained else "network"
        flag = " --pretrained" * args.pretrained
        raise CommandError(
            f"no {what} named like {args.pattern!r}; `videozoo list{flag}` shows all {len(list_names())}."
        )
    if args.json:
        say(json.dumps(names))
    for name in names if not args.json else ():
        say(name)
    return 0
