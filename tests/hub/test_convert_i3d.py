"""Tests of converted I3D, C2D, SlowOnly and SlowFast models, with and without non-local blocks."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import golden_fill
from torch import Tensor

from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import config_text, convert_checkpoint
from videozoo.models import ModelSpec, build, model_from_state, spec_of
from videozoo.models.convert import choose_alternative
from videozoo.models.registry import names_of

# First logits of the authors' code (facebookresearch/SlowFast @287ec00 and open-mmlab/mmaction2 @4d6c934 with mmcv-lite
# 2.2.0) for both clips of make_input(frames, size), with weights by the same fill of that gain. The head of I3D without
# the last stride averages over the whole map.
RECORDED: dict[str, tuple[int, int, float, list[list[float]]]] = {
    "c2d_r50_fb": (
        *(8, 32, 0.7),
        [[0.162918, 0.810831, 0.443121, 1.022506, -1.166433], [-0.110326, 1.122486, 0.454174, 1.234414, -1.43515]],
    ),
    "nl_c2d_r50_fb": (
        *(8, 32, 0.7),
        [
            [12.3348, -7.533138, 16.556435, 19.655909, -13.463303],
            [13.356172, -8.699516, 17.352222, 19.979357, -15.64889],
        ],
    ),
    "nl_i3d_r50": (
        *(8, 48, 0.7),
        [
            [15.303034, -6.55912, 8.668959, 29.399672, -20.083584],
            [16.032106, -6.316978, 8.651266, 27.295042, -20.670572],
        ],
    ),
    "nl_slowfast_r101_16x8_fb": (
        *(16, 32, 0.4),
        [[-0.797818, -0.724573, 0.754821, 1.050987, 0.06501], [-0.77842, -0.700212, 0.731366, 1.014922, 0.078277]],
    ),
    "nl_slowfast_r101_16x8": (
        *(16, 32, 0.4),
        [[-0.868204, -0.801012, 0.797092, 1.127743, 0.068392], [-0.81899, -0.742875, 0.755449, 1.055966, 0.07955]],
    ),
    "nl_i3d_r50_dot_product_mm": (
        *(16, 32, 0.4),
        [[-0.210822, 0.008425, -0.129297, 0.004926, 0.093638], [-0.206017, 0.010914, -0.129506, 0.00934, 0.09007]],
    ),
    "nl_i3d_r50_embedded_gaussian_mm": (
        *(16, 32, 0.7),
        [[0.296443, 7.399397, -7.930987, -0.494474, 7.068053], [0.589895, 9.799622, -9.00631, -2.41621, 5.345168]],
    ),
    "nl_i3d_r50_gaussian_mm": (
        *(16, 32, 0.4),
        [[-0.23609, -0.088126, -0.143404, 0.034786, 0.234895], [-0.233122, -0.085745, -0.146685, 0.038051, 0.235923]],
    ),
    "i3d_r50_heavy_mm": (
        *(8, 32, 0.7),
        [[1.665387, -1.870647, -2.413528, -1.940353, 0.304277], [1.595474, -2.033636, -2.423351, -1.67185, 0.35286]],
    ),
    "nl_slowonly_r50": (
        *(8, 32, 0.7),
        [
            [16.003698, -5.53421, -7.321809, -0.993549, 14.140264],
            [17.498114, -3.58769, -8.103683, -1.533913, 12.755291],
        ],
    ),
}
# As the authors' pages print them, in millions.
PRINTED = {
    "i3d_r50_8x8": 28.04,
    "nl_i3d_r50_8x8": 35.40,
    "c2d_r50_fb": 24.33,
    "nl_c2d_r50_fb": 31.69,
    "i3d_r50_heavy_mm": 33.0,
    "nl_i3d_r50_gaussian_mm": 31.7,
    "nl_slowonly_r50": 39.81,
    "slowfast_r101": 53.77,
    "slowfast_r101_101": 62.83,
    "slowfast_r101_mm": 62.9,
    "slowfast_r101_r50_4x16_mm": 62.4,
}


def pyslowfast_name(key: str) -> str:
    """PySlowFast's name of our key."""
    key = re.sub(r"^fc\.", "head.projection.", key).removeprefix("backbone.")
    key = re.sub(r"^(conv|bn)1\.", r"s1.pathway0_stem.\1.", key)
    key = key.replace("stem.slow.", "s1.pathway0_stem.").replace("stem.fast.", "s1.pathway1_stem.")
    key = re.sub(r"^layer(\d)\.lateral\.(?:(bn)|conv)", lambda m: f"s{m[1]}_fuse.{m[2] or 'conv_f2s'}", key)
    match = re.fullmatch(r"layer(\d)\.(slow\.|fast\.)?(\d+)\.(.*)\.(\w+)", key)
    if match is None:
        return key
    stage, pathway = int(match[1]) + 1, int(match[2] == "fast.")
    place, part = f"s{stage}.pathway{pathway}_", match[4]
    if part.startswith("non_local."):
        inner = part.removeprefix("non_local.")
        return f"{place}nonlocal{match[3]}.{inner if inner == 'bn' else f'conv_{inner}'}.{match[5]}"
    part = re.sub(r"(conv|bn)(\d)", lambda m: f"branch2.{'abc'[int(m[2]) - 1]}{'_bn' * (m[1] == 'bn')}", part)
    part = part.replace("downsample.0", "branch1").replace("downsample.1", "branch1_bn")
    return f"{place}res{match[3]}.{part}.{match[5]}"


def mmaction_name(key: str) -> str:
    """MMAction2's name of our key, for models of one pathway."""
    if key.startswith("fc."):
        return f"cls_head.fc_cls.{key[3:]}"
    key = re.sub(r"non_local\.(g|phi)\.", r"non_local_block.\1.0.conv.", key)
    key = key.replace("non_local.theta.", "non_local_block.theta.conv.")
    key = key.replace("non_local.out.", "non_local_block.conv_out.conv.").replace(
        "non_local.bn.", "non_local_block.conv_out.bn."
    )
    if "non_local" in key:
        return key
    key = re.sub(r"\b(conv|bn)(\d)\.(\w+)$", r"conv\2.\1.\3", key)
    return key.replace("downsample.0", "downsample.conv").replace("downsample.1", "downsample.bn")


def theirs(arch: str, fill: Any = None, gain: float = 0.7) -> dict[str, Tensor]:
    """A state dict of that architecture in its authors' names: on the meta device, or filled."""
    spec: Any = spec_of(arch)
    with torch.device("meta"):
        plain = build(spec).state_dict()
    name = mmaction_name if spec.backbone.endswith("_mm") else pyslowfast_name
    state = {name(key): value for key, value in plain.items()}
    return state if fill is None else fill.fill({k: torch.empty_like(v, device="cpu") for k, v in state.items()}, gain)


@pytest.mark.slow
@pytest.mark.parametrize("arch", RECORDED)
def test_logits_are_the_originals(arch: str, goldens: Path) -> None:
    fill = golden_fill(goldens)
    frames, size, gain, logits = RECORDED[arch]
    converted = choose_alternative(convert_checkpoint(theirs(arch, fill, gain))[0], arch)
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=frames)
    assert arch in names_of(spec)
    model = model_from_state(spec, dict(converted.state)).eval()
    with torch.no_grad():
        found = model(fill.make_input(frames, size))[:, :5]
    wanted = torch.tensor(logits)
    assert (found - wanted).abs().max() <= 2e-5 * wanted.abs().max()


@pytest.mark.parametrize("arch", PRINTED)
def test_parameters_are_as_printed(arch: str) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in build(spec_of(arch)).parameters())
    assert count / 1e6 == pytest.approx(PRINTED[arch], abs=0.05 if PRINTED[arch] * 10 % 1 < 1e-6 else 0.005)


@pytest.mark.parametrize(
    ("arch", "backbone", "others"),
    [
        ("i3d_r50_8x8", "i3d_resnet50", ["i3d_resnet50_s16"]),
        ("nl_i3d_r50_8x8", "i3d_resnet50_nl", ["i3d_resnet50_nl_s16"]),
        ("c2d_r50_fb", "c2d_resnet50", ["resnet50"]),
        ("nl_c2d_r50_fb", "c2d_resnet50_nl", []),
        ("slowfast_r101", "slowfast_resnet101_8x8_50", []),
        ("slowfast_r101_101", "slowfast_resnet101_8x8", []),
        ("slowfast_r50_fb", "slowfast_resnet50_8x8", []),
        ("slowfast_r50_4x16_fb", "slowfast_resnet50_4x16", []),
        ("nl_slowfast_r101_16x8_fb", "slowfast_resnet101_8x8_50_nl", ["slowfast_resnet101_8x8_50_nl_pool2"]),
        ("i3d_r50_mm", "i3d_resnet50_mm", []),
        ("i3d_r50_heavy_mm", "i3d_resnet50_heavy_mm", []),
        ("nl_i3d_r50_gaussian_mm", "i3d_resnet50_nl_gaussian_mm", []),
        ("nl_i3d_r50_dot_product_mm", "i3d_resnet50_nl_dot_product_mm", ["i3d_resnet50_nl_embedded_gaussian_mm"]),
        ("nl_slowonly_r50", "slowonly_resnet50_nl_mm", []),
    ],
)
def test_models_are_recognized_by_kernels_and_blocks(arch: str, backbone: str, others: list[str]) -> None:
    converted, _ = convert_checkpoint(theirs(arch))
    assert converted.spec["backbone"] == backbone
    assert [other.spec["backbone"] for other in converted.alternatives] == others
    assert converted.spec["num_frames"] == spec_of(arch).num_frames
    with torch.device("meta"):
        own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in converted.state.items()}


def mmaction_resnet() -> dict[str, Tensor]:
    """A state dict in MMAction2's names that is TSN's and C2D's."""
    with torch.device("meta"):
        return {mmaction_name(key): value for key, value in build(ModelSpec("resnet50")).state_dict().items()}


@pytest.mark.parametrize(
    ("state", "name", "config", "backbone"),
    [
        (mmaction_resnet, None, "", "resnet50"),
        (mmaction_resnet, "c2d_r50", "", "c2d_resnet50_mm"),
        (mmaction_resnet, None, "backbone=dict(type='C2D', depth=50)", "c2d_resnet50_mm"),
        (mmaction_resnet, None, "backbone=dict(type='ResNet', depth=50)", "resnet50"),
        (lambda: theirs("c2d_r50_fb"), "tsn_r50", "", "resnet50"),
        (lambda: theirs("c2d_r50_fb"), None, "MODEL_NAME: ResNet_nopool", "resnet50"),
        (lambda: theirs("i3d_r50_8x8"), "i3d_r50", "", "i3d_resnet50_s16"),
        (lambda: theirs("nl_i3d_r50_gaussian_mm"), None, "mode='gaussian'", "i3d_resnet50_nl_gaussian_mm"),
        (
            lambda: theirs("nl_i3d_r50_dot_product_mm"),
            None,
            "mode='embedded_gaussian'",
            "i3d_resnet50_nl_embedded_gaussian_mm",
        ),
    ],
)
def test_name_or_config_decides_between_models_of_the_same_keys(
    state: Any, name: str | None, config: str, backbone: str
) -> None:
    converted = choose_alternative(convert_checkpoint(state())[0], name, config)
    assert converted.spec["backbone"] == backbone
    with torch.device("meta"):
        own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in converted.state.items()}


def test_configs_of_both_code_bases_are_found() -> None:
    assert config_text({"meta": {"cfg": "model = 1"}, "state_dict": {}}) == "model = 1"
    assert config_text({"model_state": {}, "cfg": "MODEL: {}"}) == "MODEL: {}"
    assert config_text({"meta": {}}) == config_text([]) == ""


def test_other_structures_are_refused_by_name() -> None:
    state = theirs("nl_i3d_r50_8x8")
    moved = {key.replace("s4.pathway0_nonlocal5", "s4.pathway0_nonlocal4"): value for key, value in state.items()}
    with pytest.raises(
        ConvertError, match=r"i3d_resnet50 has .* non-local blocks after blocks .*, 4 of stage 3; known"
    ):
        convert_checkpoint(moved)
    state = theirs("slowfast_r101")
    key = "s4.pathway0_res6.branch2.a.weight"
    state[key] = state[key].new_zeros(256, 1024, 3, 1, 1)
    with pytest.raises(ConvertError, match="no published SlowFast has temporal kernel 1 in the stem"):
        convert_checkpoint(state)
    state = theirs("i3d_r50_mm")
    key = "backbone.layer4.0.conv1.conv.weight"
    state[key] = state[key].new_zeros(512, 1024, 3, 1, 1)
    with pytest.raises(
        ConvertError, match=r"MMAction2: ResNet-50 has temporal kernel 5 .*; known are slowonly, i3d, heavy"
    ):
        convert_checkpoint(state)
