"""Run the examples of README.md without pytest in an installed environment.

``python tests/docs/run_readme.py FOLDER`` runs the blocks of a plain installation in FOLDER. With ``--extras`` it runs
those that need further packages, in the same folder.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs_pages import read_blocks, run_block
from docs_settings import SETTINGS
from docs_world import World

from videozoo.extras import EXTRAS, MissingPackageError, check_installed


def main() -> None:
    """Run the blocks until one raises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extras", action="store_true")
    args = parser.parse_args()
    folder, setting = args.folder.resolve(), SETTINGS["README.md"]
    if not args.extras:
        for package in [package for extra in ("export", "parquet", "demo") for package in EXTRAS[extra]]:
            try:
                check_installed("", package)
            except MissingPackageError:
                continue
            sys.exit(f"{package} is installed: this is no plain installation")
        world = World(folder.with_name(f"{folder.name}_world"))
        for name, kind in setting.needs.items():
            world.put(kind, folder / name)
    os.chdir(folder)
    names = {"__name__": "__main__", **setting.names()}
    for block in read_blocks("README.md"):
        if block.runs and (block.mark is not None) == args.extras:
            sys.stdout.write(f"== {block}\n")
            run_block(block, names, setting.replace)


if __name__ == "__main__":
    main()
