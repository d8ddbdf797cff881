"""``videozoo report``: prints the papers' costs and ours."""

import argparse
import json

from videozoo.cli.command import Command, flag, one_of, switch
from videozoo.cli.console import print_text

COMMAND = Command(
    help="compare the cost tables of the papers with our own count",
    description="Print every row of the papers' tables that videozoo can build: published and counted operations and "
    "parameters, their difference, and a verdict. Takes a minute or two.",
    flags=(
        flag("--paper", choices=("arc", "dnr"), help="only this paper; default: both"),
        one_of(
            switch("--markdown", help="print a Markdown table (the default)"),
            switch("--json", help="print a JSON list of rows"),
        ),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Count every row and print the table."""
    from videozoo.report import format_markdown, paper_report

    rows = paper_report(args.paper)
    print_text(json.dumps(rows, indent=2, ensure_ascii=False) if args.json else format_markdown(rows).rstrip())
    return 0
