"""Write videozoo/models/names.json, which `videozoo list` prints. Run it after a change of zoo.py or the weights."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

import videozoo
from videozoo.catalog import NAMES_FILE, catalog_text
from videozoo.models import published
from videozoo.report import count_cost

PUBLIC = Path(published.__file__).parent / "public_weights.json"


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
    """Return data set, published top-1 (a ratio), clip, views, license and counts of the model of a tag."""
    arch, _, tag = name.partition(".")
    cfg = videozoo.get_pretrained_cfg(name)
    is_of_views = "published_with" not in _public().get(arch, {}).get(tag, {})
    views = f"{cfg.test_num_clips}x{cfg.test_num_crops}" if is_of_views else None
    crop = cfg.test_crop_size or cfg.input_size[-1]
    return published.facts_of(cfg) | {"views": views} | counts_of(arch, cfg.num_classes, cfg.num_frames, crop)


@cache
def _public() -> dict[str, Any]:
    weights: dict[str, Any] = json.loads(PUBLIC.read_text(encoding="utf-8"))["weights"]
    return weights


@cache
def counts_of(arch: str, num_classes: int, num_frames: int, crop: int) -> dict[str, int]:
    """Return MACs of a view, parameters and bytes of the cached file."""
    with torch.device("meta"):
        model = videozoo.create_model(arch, num_classes=num_classes, num_frames=num_frames)
    cost = count_cost(model, (3, crop, crop))
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {"macs": cost.macs, "params": cost.params, "bytes": size}


if __name__ == "__main__":
    main()
