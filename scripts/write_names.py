"""Write the names that `videozoo list` prints into videozoo/models/names.json. Run it after a change of zoo.py."""

import videozoo
from videozoo.catalog import NAMES_FILE, catalog_text

names: dict[str, list[str]] = {arch: [] for arch in videozoo.list_models()}
for name in videozoo.list_pretrained():
    arch, _, tag = name.partition(".")
    names[arch].append(tag)
NAMES_FILE.write_text(catalog_text(names), encoding="utf-8")
