"""Tests of the table of public checkpoints."""

import json
import re

import pytest
from helpers import shared_folder

import videozoo
from videozoo.data import resolve_data_config
from videozoo.models import spec_of

PUBLIC = [name for name in videozoo.list_pretrained() if videozoo.get_pretrained_cfg(name).url]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_record_says_all_that_a_test_needs(name: str) -> None:
    cfg = videozoo.get_pretrained_cfg(name)
    arch, tag = name.split(".")
    assert (cfg.architecture, cfg.tag) == (arch, tag)
    assert re.fullmatch(r"https://\S+\.pth", str(cfg.url))
    if cfg.sha256_prefix is not None:
        assert re.fullmatch(r"[0-9a-f]{8,64}", cfg.sha256_prefix)
        assert str(cfg.url).endswith(f"-{cfg.sha256_prefix}.pth")  # the habit of the sites that give one
    assert cfg.num_classes == {"Kinetics-400": 400}.get(str(cfg.dataset), 174)
    assert cfg.label_names is None or len(set(cfg.label_names)) == cfg.num_classes
    assert cfg.license in ("Apache-2.0", "MIT")
    assert cfg.metrics is not None
    assert 0.2 < cfg.metrics["top1"] < cfg.metrics.get("top5", 1.0)
    settled = resolve_data_config(cfg)
    size = 256 if cfg.test_num_crops == 3 else 224
    assert (settled["test_crop_size"] or settled["input_size"][-1]) == size
    assert str(settled["num_frames"]) in re.findall(r"\d+", tag) or "slowfast" in arch
    spec_of(arch).replace(num_frames=settled["num_frames"])
    assert "figures are of" in str(cfg.description)


def test_the_table_is_of_different_files() -> None:
    urls = [videozoo.get_pretrained_cfg(name).url for name in PUBLIC]
    assert len(set(urls)) == len(urls) > 30


def test_the_table_equals_the_lists_of_the_owners() -> None:
    papers = shared_folder("papers")
    if papers is None:
        pytest.skip("no shared list of public checkpoints")
    rows = {row["url"]: row for row in json.loads((papers / "public_checkpoints.json").read_text())["checkpoints"]}
    for name in PUBLIC:
        cfg = videozoo.get_pretrained_cfg(name)
        row = rows.pop(str(cfg.url))
        assert cfg.sha256_prefix == row.get("sha256_prefix")
        assert cfg.metrics is not None
        assert {key: round(100 * value, 2) for key, value in cfg.metrics.items()} == {
            key: row[key] for key in ("top1", "top5") if key in row
        }
    # Lateral norms, and depths that no architecture of the zoo has.
    assert all(re.search(r"slowfast_r50_8xb8-8x8x1-steplr|slow(fast|only)_r101_", row["name"]) for row in rows.values())
