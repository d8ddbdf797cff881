"""Published weights as tags of the architectures: public checkpoints of other projects, and videozoo's own."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torchvision.models import video

from videozoo.hub.files import WEIGHTS
from videozoo.models.config import VideoCfg, merge_cfg

__all__ = ["BUNDLED", "OWN", "bundled_names", "facts_of", "own_weights", "published_weights"]

_HERE = Path(__file__).parent
# Small weights that travel with the package, a folder per architecture; scripts/train_bundled.py makes them.
BUNDLED = _HERE / "bundled"
# Configs of the weights that scripts/publish_all.py has published, by architecture and tag.
OWN = _HERE / "own_weights.json"


@cache
def _read(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


def _table() -> dict[str, Any]:
    return _read(_HERE / "public_weights.json")


@cache
def _class_names(file: str) -> tuple[str, ...]:
    return tuple((_HERE / "class_names" / file).read_text(encoding="utf-8").splitlines())


def published_weights(arch: str, input_size: tuple[int, ...]) -> dict[str, VideoCfg]:
    """Return the configs of an architecture's public checkpoints by tag, the default first.

    Many have none.

    Args:
        arch: its name.
        input_size: its own (C, H, W), which is that of all checkpoints whose record names no other.
    """
    bundled = [_bundled_config(BUNDLED / arch)] if (BUNDLED / arch).is_dir() else []
    rows = _table()["weights"].get(arch, {})
    return {str(cfg.tag): cfg for cfg in bundled} | {
        tag: _config({"input_size": input_size, **row}) for tag, row in rows.items()
    }


def own_weights(arch: str) -> dict[str, VideoCfg]:
    """Return the configs of the weights of an architecture that videozoo has published on the Hub, by tag.

    Each names the commit that has its files.
    """
    rows: dict[str, dict[str, Any]] = _read(OWN).get(arch, {})
    return {tag: merge_cfg(VideoCfg(), row, {"architecture": arch, "tag": tag}) for tag, row in rows.items()}


def bundled_names() -> list[str]:
    """Return ``arch.tag`` of each weights that travel with the package."""
    return [f"{folder.name}.{_bundled_config(folder).tag}" for folder in sorted(BUNDLED.iterdir()) if folder.is_dir()]


def facts_of(cfg: VideoCfg) -> dict[str, Any]:
    """Return what a config says of its weights, as `videozoo.catalog` names it: top1 is a ratio, None if unknown."""
    top1 = (cfg.metrics or {}).get("top1")
    return {
        "dataset": cfg.dataset,
        "top1": None if top1 is None else round(top1, 6),
        "frames": cfg.num_frames,
        "size": list(cfg.input_size[1:]),
        "license": cfg.license,
    }


def _bundled_config(folder: Path) -> VideoCfg:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return merge_cfg(VideoCfg(), config["pretrained_cfg"], {"file": str(folder)})


def _config(row: dict[str, Any]) -> VideoCfg:
    if "hub" in row:
        repo, _, revision = row["hub"].partition("@")
        row = {**row, "url": f"https://huggingface.co/{repo}/resolve/{quote(revision or 'main', safe='')}/{WEIGHTS}"}
    if "torchvision" in row:
        row = {**row, **_torchvision_row(row["torchvision"])}
    source, dataset = _table()["sources"][row["source"]], _table()["datasets"][row["dataset"]]
    clips, _, crops = row["views"].partition("x")
    measured_with = row.get("published_with", f"{row['views']} views (clips x crops)")
    training = f", trained with {row['training']}" if "training" in row else ""
    names: Any = _class_names(dataset["class_names"]) if "class_names" in dataset else None
    optional: dict[str, Any] = {
        key: row[key] for key in ("sha256_prefix", "frame_stride", "test_crop_size", "crop_pct") if key in row
    }
    optional |= {key: tuple(row[key]) for key in ("mean", "std", "input_size", "test_resize") if key in row}
    return VideoCfg(
        url=row["url"],
        hf_hub_id=row.get("hub"),
        num_classes=dataset["num_classes"],
        label_names=names,
        dataset=dataset["name"],
        num_frames=row["num_frames"],
        frame_sampling=row["frame_sampling"],
        test_num_clips=int(clips),
        test_num_crops=int(crops),
        classifier="fc",
        license=source["license"],
        origin_url=source.get("origin_url") or f"https://huggingface.co/{row['hub'].partition('@')[0]}",
        description=f"By {source['name']}{training}. Its figures are of {measured_with}.",
        metrics={key: row[key] / 100 for key in ("top1", "top5") if key in row},
        **optional,
    )


def _torchvision_row(name: str) -> dict[str, Any]:
    """Return what torchvision lists of its weights: address, hash, figures and preprocessing."""
    enum, _, member = name.partition(".")
    weights: Any = getattr(video, enum)[member]
    (figures,) = weights.meta["_metrics"].values()
    preset = weights.transforms()
    match = re.search(r"-([0-9a-f]{8})\.pth$", weights.url)
    # Height and width of a frame, or its short side alone.
    is_short_side = len(preset.resize_size) == 1
    resize = (
        {"crop_pct": preset.crop_size[0] / preset.resize_size[0]}
        if is_short_side
        else {"test_resize": preset.resize_size}
    )
    return {
        "url": weights.url,
        "sha256_prefix": match and match[1],
        "top1": round(figures["acc@1"], 2),
        "top5": round(figures["acc@5"], 2),
        "mean": preset.mean,
        "std": preset.std,
        "input_size": (3, *preset.crop_size),
        **resize,
    }
