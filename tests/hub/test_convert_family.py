"""Tests of more converters with the key names of the original authors' code.

``keys/family.json`` holds the authors' key names and shapes. ``<1-22>`` stands for each of these block numbers, and
``.*`` for the five tensors of a norm. That the logits agree is measured in benchmarks/goldens_family.md.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import videozoo
from videozoo.cli import main
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec, VideoNet, build

FAMILY: dict[str, Any] = json.loads((Path(__file__).parent / "keys" / "family.json").read_text())
EXPECTED: dict[str, tuple[str, str, str, int, int]] = {  # source, backbone, temporal, frames, classes
    "tsm_official_r101": ("tsm", "resnet101", "tsm", 8, 174),
    "tsm_official_mbv2": ("tsm", "mobilenetv2_100", "tsm", 8, 174),
    "tdn_official_r101": ("tdn", "resnet101", "tdn", 40, 174),
    "tanet_official_r50": ("tanet", "resnet50", "tanet", 8, 174),
    "msnet_official_r50": ("motionsqueeze", "resnet50", "msn", 8, 174),
    "msnet_tsm_r50": ("motionsqueeze", "resnet50", "tsm", 8, 174),
    "tea_official_r50": ("tea", "res2net50_26w_4s", "tea", 8, 174),
    "trn_official_bninception": ("trn", "bninception", "trn", 8, 174),
    "mm_trn_r50": ("mmaction2", "resnet50", "trn", 8, 174),
    "mm_tsm_mbv2": ("mmaction2", "mobilenetv2_100", "tsm", 8, 400),
    "mm_tsn_rx101": ("mmaction2", "resnext101_32x4d", "tsn", 8, 400),
    "mm_slowfast_r50_4x16": ("mmaction2", "slowfast_resnet50_4x16_mm", "tsn", 32, 400),
    "mm_slowonly_r50_8x8": ("mmaction2", "slowonly_resnet50", "tsn", 8, 400),
    "fb_slowfast_r50_4x16": ("pyslowfast", "slowfast_resnet50_4x16", "tsn", 32, 400),
    "fb_slowfast_r50_8x8": ("pyslowfast", "slowfast_resnet50_8x8", "tsn", 32, 400),
    "fb_slow_r50_8x8": ("pyslowfast", "slowonly_resnet50", "tsn", 8, 400),
}


def shapes_of(name: str) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for key, shape in FAMILY[name]["keys"].items():
        run = re.search(r"<(\d+)-(\d+)>", key)
        numbers = range(int(run[1]), int(run[2]) + 1) if run else [0]
        for number in numbers:
            full = key[: run.start()] + str(number) + key[run.end() :] if run else key
            if full.endswith(".*"):
                leaves = ("weight", "bias", "running_mean", "running_var")
                out.update({full[:-1] + leaf: shape for leaf in leaves})
                out[full[:-1] + "num_batches_tracked"] = []
            else:
                out[full] = shape
    return out


def authors_state(name: str) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes_of(name).items()}


def network(spec: dict[str, Any], **changes: Any) -> VideoNet:
    with torch.device("meta"):
        return build(ModelSpec.from_dict({**spec, **changes}))


def test_all_have_an_expectation() -> None:
    assert set(FAMILY) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_key_has_a_place(name: str) -> None:
    source, backbone, temporal, frames, classes = EXPECTED[name]
    state = authors_state(name)
    converted, found = convert_checkpoint(state)
    assert found == source
    assert converted.spec["backbone"] == backbone
    assert converted.spec["temporal"]["name"] == temporal
    assert (converted.spec["num_frames"], converted.spec["num_classes"]) == (frames, classes)
    net = network(converted.spec)
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in net.state_dict().items()}
    unused = sum(state[key].numel() for key in converted.dropped if not re.search("running|num_batches", key))
    assert sum(p.numel() for p in net.parameters()) + unused == FAMILY[name]["params"]
    assert len(converted.state) + len(converted.dropped) == len(state)


def test_a_moving_averages_counter_is_named_and_left_out() -> None:
    averaged = {f"module._orig_mod.{key}": value for key, value in authors_state("tsm_official_mbv2").items()}
    wrapped = unwrap({"ema_state_dict": {"n_averaged": torch.zeros(()), **averaged}}, averaged=True)
    converted, _ = convert_checkpoint(wrapped)
    assert converted.dropped == ("n_averaged",)
    assert len(converted.state) == len(averaged)


def test_shifts_stand_where_the_authors_put_them() -> None:
    for name in ("tsm_official_r101", "tsm_official_mbv2", "mm_tsm_mbv2"):
        shifted = {key for key in authors_state(name) if ".net." in key and re.search(r"net(\.conv)?\.weight$", key)}
        net = network(convert_checkpoint(authors_state(name))[0].spec)
        assert len(net.sites["tsm"]) == len(shifted) == (18 if "r101" in name else 10)
    converted, _ = convert_checkpoint(authors_state("tsm_official_r101"))
    theirs = {m[1] for k in authors_state("tsm_official_r101") if (m := re.match(r"base_model\.(.*)\.net\.weight", k))}
    assert set(network(converted.spec).sites["tsm"]) == theirs


def test_tdns_fusion_follows_the_number_of_segments() -> None:
    converted, _ = convert_checkpoint(authors_state("tdn_official_r101"))
    assert network(converted.spec).backbone.main_weight == 0.5
    assert network(converted.spec, num_frames=80).backbone.main_weight == 0.75


def test_both_slowfasts_stay_apart() -> None:
    specs = [convert_checkpoint(authors_state(f"{who}_slowfast_r50_4x16"))[0].spec for who in ("mm", "fb")]
    mm, fb = (network(spec).backbone.cfg for spec in specs)
    assert (mm.has_lateral_norm, mm.slow_frames, mm.is_fast_first) == (False, "stride", True)
    assert (fb.has_lateral_norm, fb.slow_frames, fb.is_fast_first) == (True, "linspace", False)
    assert (mm.alpha, mm.fusion_kernel) == (fb.alpha, fb.fusion_kernel) == (8, 5)


def test_unsupported_checkpoints_are_refused() -> None:
    state = authors_state("tsm_official_r101")
    plain = {key.replace(".net.", "."): value for key, value in state.items()}
    plain["base_model.bn2.weight"] = torch.empty(128, device="meta")
    with pytest.raises(ConvertError, match="every second one"):
        convert_checkpoint(plain)
    odd = authors_state("mm_tsn_rx101")
    odd["backbone.layer1.0.conv2.weight"] = torch.empty(256, 8, 3, 3, device="meta")
    with pytest.raises(ConvertError, match="32 groups of 8 channels"):
        convert_checkpoint(odd)
    single = {key: value for key, value in authors_state("mm_trn_r50").items() if "fc_fusion_scales" not in key}
    single["cls_head.consensus.classifier.1.weight"] = torch.empty(512, 2048, device="meta")
    with pytest.raises(ConvertError, match=r"no place for cls_head\.consensus\.classifier"):
        convert_checkpoint(single)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "frames"),
    [
        ("tsm_official_mbv2", "tsm_mbv2", 16),
        ("mm_tsm_mbv2", "tsm_mbv2", 8),
        ("mm_trn_r50", "trn_r50", 8),
        ("tdn_official_r101", "tdn_r101", 80),
        ("fb_slowfast_r50_4x16", "slowfast_r50_4x16", 32),
        ("fb_slow_r50_8x8", "slowonly_r50", 4),
    ],
)
def test_from_a_file_to_a_model(name: str, model: str, frames: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {key: torch.rand(shape) * 0.05 for key, shape in shapes_of(name).items()}
    file, out = tmp_path / "theirs.pth", tmp_path / "out"
    torch.save({"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    flags = ["--model", model, "--num-classes", str(EXPECTED[name][4]), "--num-frames", str(frames)]
    assert main(["convert", str(file), *flags, "--output", str(out)]) == 0
    net = videozoo.create_model(f"local-dir:{out}", pretrained=True)
    assert (net.num_frames, net.num_classes) == (frames, EXPECTED[name][4])
    own, want = net.state_dict(), convert_checkpoint(state)[0].state
    assert own.keys() == want.keys()
    assert all(torch.equal(own[key], want[key].to(own[key].dtype)) for key in own)
