"""``videozoo push``: publish a run or a model folder on the Hugging Face Hub."""

import argparse

from videozoo.cli.console import Parser, note, say


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "push",
        help="publish a run or a model folder on the Hugging Face Hub",
        description="Makes config.json, model.safetensors and README.md (the card), builds the network from them again "
        "and compares, then publishes them in one commit. What is there already is not sent again. The licence, the "
        "data set and the class names are those of config.json.",
        epilog="Example: videozoo push runs/mine --repo my-org/my-model --dry-run",
    )
    parser.add_argument("run_or_dir", metavar="RUN_OR_DIR", help="a run of finetune, or a folder with config.json")
    parser.add_argument("--repo", required=True, metavar="ORG/NAME", help="the repository; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--revision", metavar="BRANCH", help="publish on a branch; made if it is not there")
    parser.add_argument("--dry-run", action="store_true", help="prepare and check everything, send nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load, prepare, check, publish."""
    import videozoo
    from videozoo.publish import find_source, push_to_hub

    source = find_source(args.run_or_dir)
    note(f"preparing and checking {source.folder}")
    model = videozoo.create_model(f"local-dir:{source.folder}", pretrained=True)
    pushed = push_to_hub(
        model, args.repo, run=source.folder, private=args.private, revision=args.revision, dry_run=args.dry_run
    )
    for name, size in pushed.files.items():
        say(f"{name:<20}{size:>14,} bytes")
    if pushed.commit is None:
        say(f"dry run: all is checked, nothing was sent to {pushed.url}")
    elif pushed.is_new:
        say(f"published: {pushed.url}")
    else:
        say(f"already up to date at {pushed.commit}")
    return 0
