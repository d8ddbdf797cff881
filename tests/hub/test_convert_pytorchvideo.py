"""Tests of PyTorchVideo's checkpoints: every published model is recognized by keys and shapes.

Its package was not run for these tests: names and structure are from its model builders, costs from its model zoo.
"""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from videozoo.hub.convert import pytorchvideo
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import _CONVERTERS, convert_checkpoint
from videozoo.models import ModelSpec, build, spec_of
from videozoo.models.convert import convert_file
from videozoo.models.registry import names_of
from videozoo.report import count_cost

# Published models: our backbone, frames, our architecture, test crop, GFLOPs and million parameters as printed.
PUBLISHED = {
    "C2D_8x8_R50": ("c2d_resnet50", 8, "c2d_r50_fb", 256, 25.89, 24.33),
    "I3D_8x8_R50": ("i3d_resnet50", 8, "i3d_r50_8x8", 256, 37.53, 28.04),
    "SLOW_8x8_R50": ("slowonly_resnet50", 8, "slowonly_r50", 256, 54.52, 32.45),
    "SLOWFAST_4x16_R50": ("slowfast_resnet50_4x16", 32, "slowfast_r50_4x16_fb", 256, 36.69, 34.48),
    "SLOWFAST_8x8_R50": ("slowfast_resnet50_8x8", 32, "slowfast_r50_fb", 256, 65.71, 34.57),
    "SLOWFAST_8x8_R101": ("slowfast_resnet101_8x8", 32, "slowfast_r101_101", 256, 127.20, 62.83),
    "SLOWFAST_16x8_R101_50_50": ("slowfast_resnet101_8x8_50", 64, "slowfast_r101_16x8", 256, 215.61, 53.77),
    "CSN_32x2_R101": ("csn_ir_resnet101_ptv", 32, "csn_ir_r101", 256, 75.62, 22.21),
    "R2PLUS1D_16x4_R50": ("r2plus1d_resnet50_ptv", 16, "r2plus1d_r50", 256, 76.45, 28.11),
    "X3D_S": ("x3d_small_ptv", 13, "x3d_s", 182, 2.96, 3.79),
    "X3D_L": ("x3d_large_ptv", 16, "x3d_l", 356, 26.64, 6.15),
}
LETTERS = {"1": "a", "2": "b", "3": "c"}


def ptv_names(backbone: str) -> dict[str, Tensor]:
    """A state dict of ours under PyTorchVideo's names, written from that code's side."""
    own = build(ModelSpec(backbone, num_frames=32, num_classes=9)).state_dict()
    has_pool = backbone.startswith(("c2d", "i3d"))  # a block of its own between the first two stages
    head = "6" if has_pool or backbone.startswith("slowfast") else "5"
    return {_ptv(key.removeprefix("backbone."), has_pool, head): value for key, value in own.items()}


def _ptv(key: str, has_pool: bool, head: str) -> str:
    path, _, leaf = key.rpartition(".")
    fixed = {"conv1_temporal": "blocks.0.conv.conv_xy", "fc": f"blocks.{head}.proj", "bn1": "blocks.0.norm"}
    fixed |= {"head_conv": "blocks.5.pool.pre_conv", "head_bn": "blocks.5.pool.pre_norm"}
    fixed |= {"pooled_conv": "blocks.5.pool.post_conv", "conv1": "blocks.0.conv"}
    if match := re.fullmatch(r"layer(\d)\.lateral\.(conv|bn)", path):
        part = {"conv": "conv_fast_to_slow", "bn": "norm"}[match[2]]
        return f"blocks.{int(match[1]) - 1}.multipathway_fusion.{part}.{leaf}"
    if match := re.fullmatch(r"stem\.(slow|fast)\.(conv|bn)", path):
        return f"blocks.0.multipathway_blocks.{int(match[1] == 'fast')}.{match[2].replace('bn', 'norm')}.{leaf}"
    match = re.fullmatch(r"layer(\d)\.(?:(slow|fast)\.)?(\d+)\.(.*)", path)
    if match is None:
        return f"{fixed[path]}.{leaf}"
    number = int(match[1]) + (has_pool and match[1] != "1")
    pathway = f"multipathway_blocks.{int(match[2] == 'fast')}." if match[2] else ""
    return f"blocks.{number}.{pathway}res_blocks.{match[3]}.{_inside(match[4])}.{leaf}"


def _inside(part: str) -> str:
    plain = {"downsample.0": "branch1_conv", "downsample.1": "branch1_norm", "conv2.1": "branch2.conv_b.norm"}
    plain |= {"conv2.0": "branch2.conv_b.conv_t", "conv2.3": "branch2.conv_b.conv_xy"}
    plain |= {"se.fc1": "branch2.norm_b.1.block.0", "se.fc2": "branch2.norm_b.1.block.2"}
    if part in plain:
        return plain[part]
    kind, number = part[:-1], part[-1]
    return f"branch2.{'conv' if kind == 'conv' else 'norm'}_{LETTERS[number]}"


def x3d_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """X3D's stem has two convolutions, and its second norm stands in a row with the gate."""
    out = {}
    for key, value in state.items():
        key = key.replace("blocks.0.conv.weight", "blocks.0.conv.conv_t.weight")
        out[re.sub(r"(branch2\.norm_b)\.(?!1\.)", r"\1.0.", key)] = value
    return out


def published(name: str) -> dict[str, Tensor]:
    state = ptv_names(PUBLISHED[name][0])
    return x3d_names(state) if name.startswith("X3D") else state


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_model_is_recognized_and_keeps_every_tensor(name: str) -> None:
    backbone, frames, *_ = PUBLISHED[name]
    state = published(name)
    assert [source for source, converter in _CONVERTERS if converter.matches(state)] == ["pytorchvideo"]
    converted, _ = convert_checkpoint(state)
    assert (converted.spec["backbone"], converted.spec["num_frames"]) == (backbone, frames)
    assert converted.dropped == ()
    # Whether the last stage halves the maps is not in the keys.
    assert [other.spec["backbone"] for other in converted.alternatives] == ["i3d_resnet50_s16"] * (name[:3] == "I3D")
    assert converted.cfg["mean"] == (0.45, 0.45, 0.45)
    own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {key: value.shape for key, value in converted.state.items()} == {key: v.shape for key, v in own.items()}
    assert {id(value) for value in converted.state.values()} == {id(value) for value in state.values()}


def test_c2d_without_a_pooling_is_tsn() -> None:
    """Without that block the stages have other numbers."""
    state = {
        re.sub(r"^blocks\.([3-6])", lambda match: f"blocks.{int(match[1]) - 1}", key): value
        for key, value in published("C2D_8x8_R50").items()
    }
    converted, source = convert_checkpoint(state)
    assert (source, converted.spec["backbone"], converted.alternatives) == ("pytorchvideo", "resnet50", ())
    own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {key: value.shape for key, value in converted.state.items()} == {key: v.shape for key, v in own.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "R101" in name else name for name in PUBLISHED]
)
def test_cost_and_parameters_are_those_that_are_printed(name: str) -> None:
    """Most rows count five operations per number in a norm, where fvcore counts two today. Some leave norms out."""
    backbone, frames, _, crop, flops, params = PUBLISHED[name]
    with torch.device("meta"):
        model = build(ModelSpec(backbone, num_frames=frames))
    cost = count_cost(model, (3, crop, crop))
    norms = 0 if name in ("SLOW_8x8_R50", "SLOWFAST_8x8_R50") else 2.5 * cost.by_operator["batch_norm"]
    assert (cost.by_operator["conv"] + norms) / 1e9 == pytest.approx(flops, rel=4e-3)
    assert cost.params / 1e6 == pytest.approx(params, abs=0.006)


@pytest.mark.parametrize("name", ["X3D_S", "CSN_32x2_R101"])
def test_a_file_becomes_a_model(name: str, tmp_path: Path) -> None:
    torch.save({"model_state": published(name)}, tmp_path / "model.pyth")
    model, _, source = convert_file(tmp_path / "model.pyth")
    assert source == "pytorchvideo"
    assert (model.pretrained_cfg["architecture"], model.num_frames) == (PUBLISHED[name][2], PUBLISHED[name][1])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_architecture_is_known(name: str) -> None:
    spec = ModelSpec(PUBLISHED[name][0], num_frames=PUBLISHED[name][1])
    assert PUBLISHED[name][2] in names_of(spec)
    assert spec_of(PUBLISHED[name][2]).num_frames == PUBLISHED[name][1]


def test_a_depth_that_is_not_published_is_refused() -> None:
    state = {
        key: value
        for key, value in published("CSN_32x2_R101").items()
        if not re.search(r"blocks\.3\.res_blocks\.(?:[6-9]|1\d|2\d)\.", key)
    }
    with pytest.raises(ConvertError, match="PyTorchVideo: csn_ir_resnet50_ptv is not published"):
        pytorchvideo.convert(state)


def test_a_key_without_a_place_is_named() -> None:
    state = published("C2D_8x8_R50") | {"blocks.6.roi.weight": torch.zeros(1)}
    with pytest.raises(ConvertError, match=r"PyTorchVideo: no place for blocks\.6\.roi\.weight"):
        pytorchvideo.convert(state)
