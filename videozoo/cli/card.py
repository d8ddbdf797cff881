"""``videozoo card``: prints the card of a run or a model folder as it would be published."""

import argparse

from videozoo.cli.command import Command, flag
from videozoo.cli.console import print_text

COMMAND = Command(
    help="print a model's card",
    description="Print the card that push would publish: the model, its training and its results.",
    epilog="Example: videozoo card runs/mine > README.md",
    flags=(flag("folder", metavar="DIR", help="run folder of finetune, or a folder with config.json"),),
)


def run(args: argparse.Namespace) -> int:
    """Render the card and print it."""
    import videozoo
    from videozoo.publish import find_source, render_card

    source = find_source(args.folder)
    model = videozoo.create_model(f"local-dir:{source.folder}", pretrained=True)
    print_text(render_card(model, source).rstrip())
    return 0
