"""Tests of ECO: sizes, the two ways to its features, its authors' keys, and its clear refusals."""

import re
from typing import Any

import pytest
import torch
from helpers import clips, randomize
from small_backbones import SMALL
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.export.trace import size_multiple
from videozoo.hub.convert.checkpoint import convert_checkpoint, unwrap
from videozoo.models import ModelSpec
from videozoo.nets.eco import Eco
from videozoo.report import count_cost


@pytest.mark.parametrize(
    ("name", "frames", "params", "gmacs"),
    [("eco_lite", 16, 37_503_856, 46.58), ("eco_lite", 32, 37_503_856, 93.16), ("eco_full", 16, 47_502_128, 64.55)],
)
def test_sizes_are_those_of_the_authors(name: str, frames: int, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        net = videozoo.create_model(name, num_frames=frames).eval()
    cost = count_cost(net, (3, 224, 224))
    assert cost.params == params
    assert cost.gmacs == pytest.approx(gmacs, abs=0.005)


def small(is_full: bool) -> Any:
    torch.manual_seed(0)
    return randomize(Eco(is_full, (8, 16, 24))).eval()


def bn_inception_key(key: str) -> str:
    """The name in BN-Inception, whose stages begin one number earlier there, and which does not split module 3c."""
    key = re.sub(r"stage[34]\.inception_3c", "stage3.inception_3c", key)
    return re.sub(r"stage(\d)\.frames", lambda match: f"stage{int(match[1]) - 1}", key)


@torch.no_grad()
def test_features_of_full_are_those_of_frames_and_of_the_clip() -> None:
    """Its global average is that of BN-Inception's frames, then that of ECO Lite's clip."""
    full, lite = small(True), small(False)
    own = full.state_dict()
    entry = {key: value for key, value in own.items() if key in lite.state_dict()}
    lite.load_state_dict(entry)
    x = clips(2, 8, 64)
    pooled = full.forward_head(full.forward_features(x), pre_logits=True)
    assert pooled.shape == (2, 1024 + 24)
    torch.testing.assert_close(pooled[:, 1024:], lite(x))
    frames = videozoo.compose("bninception", num_classes=0, num_frames=8).eval()
    names = {key: bn_inception_key(key) for key in own if ".clips." not in key}
    frames.backbone.load_state_dict({name: own[key] for key, name in names.items()})
    torch.testing.assert_close(pooled[:, :1024], frames(x))


def theirs(is_full: bool) -> dict[str, Tensor]:
    """The authors' keys, with shapes of one element: their names are what counts."""
    modules = {"3a": 7, "3b": 7, "3c": 2}
    branches = ["double_3x3_reduce", "double_3x3_1", "3x3_reduce", "3x3", "double_3x3_2", "1x1", "pool_proj"]
    convs = ["conv1_7x7_s2", "conv2_3x3_reduce", "conv2_3x3"]
    if is_full:
        modules |= {"3c": 5, **dict.fromkeys(("4a", "4b", "4c", "4d", "5a", "5b"), 7), "4e": 5}
    convs += [f"inception_{module}_{branch}" for module, count in modules.items() for branch in branches[:count]]
    blocks = ("res3b", "res4a", "res4b", "res5a", "res5b")
    deep = ["res3a_2", "res4a_down", "res5a_down", *(f"{block}_{i}" for block in blocks for i in (1, 2))]
    norms = [f"{conv}_bn" for conv in convs] + [f"{block}{end}_bn" for block in blocks for end in ("", "_1")]
    keys = [f"{name}.{leaf}" for name in (*convs, *deep) for leaf in ("weight", "bias")] + ["res3a_bn.weight"]
    keys += [f"{norm}.{leaf}" for norm in (*norms, "res3a_bn") for leaf in ("weight", "bias", "running_mean")]
    keys += [f"{norm}.{leaf}" for norm in (*norms, "res3a_bn") for leaf in ("running_var", "num_batches_tracked")]
    return dict.fromkeys(keys, torch.zeros(1))


@pytest.mark.parametrize("name", ["eco_lite", "eco_full"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_checkpoints_of_the_authors_convert(name: str, wrapped: bool) -> None:
    state = theirs(name == "eco_full")
    head = {f"fc_final.{leaf}": torch.zeros(400) for leaf in ("weight", "bias")}
    if wrapped:
        state = {f"module.base_model.{key}": value for key, value in state.items()}
        head = {f"module.new_fc.{key[9:]}": value for key, value in head.items()}
    converted, source = convert_checkpoint(unwrap({**state, **head}))
    assert source == "eco"
    with torch.device("meta"):
        net = videozoo.create_model(name)
    assert set(converted.state) == set(net.state_dict())
    spec = ModelSpec.from_dict(converted.spec)
    assert (spec.backbone, spec.num_frames) == (net.spec.backbone, 16)
    assert converted.cfg["mean"] == pytest.approx((104 / 255, 117 / 255, 128 / 255))
    assert converted.cfg["channel_order"] == "bgr"


def test_two_classifiers_in_a_row_have_no_place() -> None:
    state = {**theirs(False), "fc_first.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"ECO authors: no place for fc_first\.weight"):
        convert_checkpoint(state)


def test_parts_on_top() -> None:
    small_name = "eco_lite_bninception"
    for part, count in ((ARC(), 7), (ARC(layers=("conv3d",)), 13), (DNR(), 20)):
        with torch.device("meta"):
            net = videozoo.compose(small_name, augmenters=[part], num_classes=3, num_frames=8).eval()
            assert net(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 3)
        assert len(next(sites for kind, sites in net.sites.items() if kind != "tsn")) == count


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="num_frames is 6; need a positive multiple of 4"):
        videozoo.create_model("eco_lite", num_frames=6)
    with pytest.raises(ValueError, match="is a 3-D model and mixes time itself; TSM is for 2-D"):
        videozoo.compose("eco_lite_bninception", TSM(), num_frames=8)
    with pytest.raises(ValueError, match=r"cannot interlace channels over time: .* Pass interlace=False"):
        videozoo.compose("eco_lite_bninception", augmenters=[DNR(interlace=True)], num_frames=8)
    with pytest.raises(ValueError, match="cannot be causal: a 3-D model"):
        videozoo.create_model("eco_lite").streaming()


@pytest.mark.parametrize("name", ["eco_full_bninception", "bninception"])
@torch.no_grad()
def test_sizes_that_pools_and_convolutions_halve_alike(name: str) -> None:
    net = (small(True) if name[:3] == "eco" else videozoo.compose(name, num_classes=0).backbone).eval()
    for side in (31, 38, 64):
        x = torch.zeros(1, 3, 4, side, 32) if name[:3] == "eco" else torch.zeros(1, 3, side, 32)
        assert net.forward_features(x).shape[-2:] == (-(-(side - 6) // 32), 1)
    for height, width in ((30, 32), (32, 39), (40, 64), (224, 240)):
        x = torch.zeros(1, 3, 4, height, width) if name[:3] == "eco" else torch.zeros(1, 3, height, width)
        with pytest.raises(ValueError, match=f"{name}: frames of {height} x {width} pixels.*multiples of 32"):
            net(x)


def test_an_exported_file_is_tried_with_sizes_that_the_model_takes() -> None:
    assert size_multiple(videozoo.compose(SMALL["eco_full_bninception"], num_classes=2)) == 32
    assert size_multiple(videozoo.compose(SMALL["eco_lite_bninception"], num_classes=2)) == 1
    assert size_multiple(videozoo.compose(SMALL["resnet18"], num_classes=2)) is None
