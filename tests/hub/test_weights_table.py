"""Tests of the table of public checkpoints."""

import json
import re

import pytest
from helpers import shared_folder

import videozoo
from videozoo.data import resolve_data_config
from videozoo.models import spec_of

PUBLIC = [name for name in videozoo.list_pretrained() if videozoo.get_pretrained_cfg(name).url]


CLASSES = {"Kinetics-400": 400, "Kinetics-600": 600, "Kinetics-700": 700, "Kinetics-710": 710}
LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-NC-4.0")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_record_says_all_that_a_test_needs(name: str) -> None:
    cfg = videozoo.get_pretrained_cfg(name)
    arch, tag = name.split(".")
    assert (cfg.architecture, cfg.tag) == (arch, tag)
    assert re.fullmatch(r"https://\S+", str(cfg.url))
    if cfg.sha256_prefix is not None:
        assert re.fullmatch(r"[0-9a-f]{8,64}", cfg.sha256_prefix)
        assert re.search(rf"[-_]{cfg.sha256_prefix}\.pth$", str(cfg.url))  # the habit of the sites that give one
    assert cfg.num_classes == CLASSES.get(str(cfg.dataset), 174)
    assert cfg.label_names is None or len(set(cfg.label_names)) == cfg.num_classes
    assert cfg.license in LICENSES
    assert cfg.metrics is not None
    assert 0.2 < cfg.metrics["top1"] < cfg.metrics.get("top5", 1.0)
    settled = resolve_data_config(cfg)
    own = {"x3d": (182, 256, 356), "timesformer_hr": (448,), "movinet": (172, 224, 256, 290, 320)}
    own |= {"mvit_v2_l": (312,), **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), (112,))}
    sizes = next((sizes for start, sizes in own.items() if arch.startswith(start)), (224, 256))
    assert (settled["test_crop_size"] or settled["input_size"][-1]) in sizes
    assert (
        str(settled["num_frames"]) in re.findall(r"\d+", tag)
        or "slowfast" in arch
        or arch.startswith(("i3d", "nl_i3d"))
    )
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
    cfgs = {str(cfg.url): cfg for cfg in map(videozoo.get_pretrained_cfg, PUBLIC)}
    assert set(rows) <= set(cfgs)
    for url, row in rows.items():
        cfg = cfgs[url]
        assert cfg.sha256_prefix == row.get("sha256_prefix")
        assert cfg.metrics is not None
        assert {key: round(100 * value, 2) for key, value in cfg.metrics.items()} == {
            key: row[key] for key in ("top1", "top5") if key in row
        }


@pytest.mark.parametrize("arch", ["x3d_xs", "x3d_s", "x3d_l"])
def test_clips_of_weights_have_the_size_of_their_name(arch: str) -> None:
    """X3D's records name no size, and a size of 224 would crop a test of S from frames that are too large."""
    own = videozoo.get_pretrained_cfg(arch)
    for name in videozoo.list_pretrained(arch):
        cfg = videozoo.get_pretrained_cfg(name)
        assert (cfg.input_size, cfg.test_crop_size) == (own.input_size, own.test_crop_size), name
