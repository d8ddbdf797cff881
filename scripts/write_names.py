"""Write videozoo/models/names.json, which `videozoo list` prints. Run it after a change of zoo.py or the weights."""

from functools import cache
from typing import Any

import torch

import videozoo
from videozoo.catalog import NAMES_FILE, catalog_text


def main() -> None:
    NAMES_FILE.write_text(catalog_text(make_catalog()), encoding="utf-8")


def make_catalog() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the registered architectures with their tags and the facts of each tag."""
    names: dict[str, dict[str, dict[str, Any]]] = {arch: {} for arch in videozoo.list_models()}
    for name in videozoo.list_pretrained():
        arch, _, tag = name.partition(".")
        names[arch][tag] = facts_of(name)
    return names


def facts_of(name: str) -> dict[str, Any]:
    """Return data set, published top-1 (a ratio), clip and bytes of the cached file of a tag."""
    cfg = videozoo.get_pretrained_cfg(name)
    top1 = (cfg.metrics or {}).get("top1")
    return {
        "dataset": cfg.dataset,
        "top1": None if top1 is None else round(top1, 6),
        "frames": cfg.num_frames,
        "size": list(cfg.input_size[1:]),
        "bytes": _bytes_of(name.partition(".")[0], cfg.num_classes, cfg.num_frames),
    }


@cache
def _bytes_of(arch: str, num_classes: int, num_frames: int) -> int:
    with torch.device("meta"):
        model = videozoo.create_model(arch, num_classes=num_classes, num_frames=num_frames)
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


if __name__ == "__main__":
    main()
