"""``videozoo report``: the papers' figures beside ours."""

import argparse
import json

from videozoo.cli.console import Parser, say_text


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "report",
        help="the papers' cost tables beside our own count",
        description="Every row of the papers' tables that the zoo has: printed and measured operations and parameters, "
        "their difference, and a verdict. Takes a minute or two.",
    )
    parser.add_argument("--paper", choices=("arc", "dnr"), help="one paper only")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print a Markdown table (the default)")
    form.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count every row and print."""
    from videozoo.report import format_markdown, paper_report

    rows = paper_report(args.paper)
    say_text(json.dumps(rows, indent=2, ensure_ascii=False) if args.json else format_markdown(rows).rstrip())
    return 0
