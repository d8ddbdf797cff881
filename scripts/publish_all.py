"""Publish every weights folder (``config.json``, ``model.safetensors``) under one organization of the Hub.

``python scripts/publish_all.py --org ORG [--dry-run] [FOLDER]``: FOLDER is searched, by default the package, which
ships weights for trials. A folder is published as ORG/<its name>; the ``best`` of a run under the run's name, its
``last`` not at all. What is there already is not sent again.
"""

import argparse
import re
import sys
from pathlib import Path

import videozoo
from videozoo import WeightsError, create_model, push_to_hub


def main() -> int:
    """Publish all folders; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(videozoo.__file__).parent, metavar="FOLDER")
    parser.add_argument("--org", required=True, help="organization or user")
    parser.add_argument("--dry-run", action="store_true", help="prepare and check everything, send nothing")
    args = parser.parse_args()
    folders = find_folders(args.folder.expanduser())
    if not folders:
        parser.error(f"{args.folder}: no folder with config.json and model.safetensors in it")
    failed = 0
    for name, folder in folders.items():
        try:
            print(publish(folder, f"{args.org}/{name}", args.dry_run), flush=True)
        except WeightsError as error:
            failed += 1
            print(f"failed: {error}", file=sys.stderr, flush=True)
    print(f"{len(folders) - failed} of {len(folders)} done")
    return int(failed > 0)


def find_folders(root: Path) -> dict[str, Path]:
    """Return the model folders below ``root`` by the name under which they are published."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("config.json")):
        folder = path.parent
        if folder.name == "last" or not (folder / "model.safetensors").is_file():
            continue
        name = re.sub(r"[^\w.-]+", "-", (folder.parent if folder.name == "best" else folder).resolve().name)
        if name in found:
            sys.exit(f"{found[name]} and {folder} would both be {name}; rename one")
        found[name] = folder
    return found


def publish(folder: Path, repo: str, dry_run: bool) -> str:
    """Publish one folder and return a line that reports it."""
    model = create_model(folder, pretrained=True)
    pushed = push_to_hub(model, repo, run=folder, dry_run=dry_run)
    size = sum(pushed.files.values())
    if pushed.commit is None:
        return f"{repo}: checked, {size:,} bytes, nothing sent"
    return f"{repo}: {'published as' if pushed.is_new else 'already up to date at'} {pushed.commit}"


if __name__ == "__main__":
    sys.exit(main())
