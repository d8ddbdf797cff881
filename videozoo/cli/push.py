"""``videozoo push``: publish a run or a model folder on the Hugging Face Hub."""

import argparse

from videozoo.cli.command import Command, flag, switch
from videozoo.cli.console import print_result, print_status

COMMAND = Command(
    help="publish a run or a model folder on the Hugging Face Hub",
    description="Write config.json, model.safetensors and README.md (the card), check that they rebuild the same "
    "model, and publish them in one commit. Unchanged files are not sent again. The license, the data set and the "
    "class names come from config.json.",
    epilog="Example: videozoo push runs/mine --repo my-org/my-model --dry-run",
    flags=(
        flag("run_or_dir", metavar="RUN_OR_DIR", help="run folder of finetune, or a folder with config.json"),
        flag("--repo", required=True, metavar="ORG/NAME", help="repository; created if it does not exist"),
        switch("--private", help="make the repository private"),
        flag("--revision", metavar="BRANCH", help="branch; created if it does not exist"),
        switch("--dry-run", help="prepare and check everything, but send nothing"),
    ),
)


def run(args: argparse.Namespace) -> int:
    """Load, prepare, check, publish."""
    import videozoo
    from videozoo.publish import find_source, push_to_hub

    source = find_source(args.run_or_dir)
    print_status(f"preparing and checking {source.folder}")
    model = videozoo.create_model(f"local-dir:{source.folder}", pretrained=True)
    pushed = push_to_hub(
        model, args.repo, run=source.folder, private=args.private, revision=args.revision, dry_run=args.dry_run
    )
    for name, size in pushed.files.items():
        print_result(f"{name:<20}{size:>14,} bytes")
    if pushed.commit is None:
        print_result(f"dry run: all is checked, nothing was sent to {pushed.url}")
    elif pushed.is_new:
        print_result(f"published: {pushed.url}")
    else:
        print_result(f"already up to date at {pushed.commit}")
    return 0
