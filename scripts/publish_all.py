"""Publish every weights folder (``config.json``, ``model.safetensors``) under one organization of the Hub.

``python scripts/publish_all.py --org ORG [--dry-run] [FOLDER]``: FOLDER is searched, by default the package, which
ships weights for trials. A folder is published as ORG/<its name>; the ``best`` of a run under the run's name, its
``last`` not at all. What is there already is not sent again.

A folder named ``ARCHITECTURE.TAG`` becomes a tag: its row in videozoo/models/own_weights.json names the commit that has
its files. Then run scripts/write_names.py and scripts/results.py and commit what changed:
``create_model("ARCHITECTURE.TAG", pretrained=True)`` loads the weights.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import videozoo
from videozoo import WeightsError, create_model, is_model, push_to_hub
from videozoo.engine.checkpoint import replace_file
from videozoo.models.published import OWN
from videozoo.models.registry import split_name
from videozoo.publish import Pushed


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
            pushed = publish(folder, f"{args.org}/{name}", args.dry_run)
        except WeightsError as error:
            failed += 1
            print(f"failed: {error}", file=sys.stderr, flush=True)
            continue
        print(report(pushed), flush=True)
        if pushed.commit is not None:
            add_tag(name, folder, f"{pushed.repo}@{pushed.commit}")
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


def publish(folder: Path, repo: str, dry_run: bool) -> Pushed:
    """Publish one folder."""
    return push_to_hub(create_model(folder, pretrained=True), repo, run=folder, dry_run=dry_run)


def report(pushed: Pushed) -> str:
    """Return a line that reports what was published."""
    if pushed.commit is None:
        return f"{pushed.repo}: checked, {sum(pushed.files.values()):,} bytes, nothing sent"
    return f"{pushed.repo}: {'published as' if pushed.is_new else 'already up to date at'} {pushed.commit}"


def add_tag(name: str, folder: Path, place: str) -> None:
    """Add the row of a folder that is named ``ARCHITECTURE.TAG`` to the table of published weights.

    Args:
        name: of the folder. Nothing is added if it is no such name.
        folder: the folder.
        place: ``ORG/NAME@COMMIT``.
    """
    arch, tag = split_name(name)
    if not tag or not is_model(arch):
        return
    row: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))["pretrained_cfg"]
    table = json.loads(OWN.read_text(encoding="utf-8"))
    table.setdefault(arch, {})[tag] = {key: value for key, value in row.items() if value is not None} | {
        "hf_hub_id": place
    }
    replace_file(OWN, json.dumps(table, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
