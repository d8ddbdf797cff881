"""Tests of the converters of TPN, with keys of the four published kinds made from our models."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import videozoo
from videozoo import TPN, TSM, TSN
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models.convert import convert_file

AUTHORS = [
    (r"backbone\.neck\.spatial\.0", "necks.spatial_modulation.spatial_modulation.0.0.conv"),
    (r"backbone\.neck\.spatial\.1", "necks.spatial_modulation.spatial_modulation.0.0.bn"),
    (r"backbone\.neck\.temporal\.(\d)", r"necks.temporal_modulation_ops.\1.conv"),
    (r"backbone\.neck\.downsample", "necks.downsampling_ops.0.conv"),
    (r"backbone\.neck\.top_down\.levels\.(\d)\.0", r"necks.level_fusion_op2.ops.\1.conv"),
    (r"backbone\.neck\.top_down\.levels\.(\d)\.1", r"necks.level_fusion_op2.ops.\1.norm"),
    (r"backbone\.neck\.top_down\.fuse\.(\d)", r"necks.level_fusion_op2.fusion_conv.\1"),
    (r"backbone\.neck\.bottom_up\.levels\.(\d)\.0", r"necks.level_fusion_op.ops.\1.conv"),
    (r"backbone\.neck\.bottom_up\.levels\.(\d)\.1", r"necks.level_fusion_op.ops.\1.norm"),
    (r"backbone\.neck\.bottom_up\.fuse\.(\d)", r"necks.level_fusion_op.fusion_conv.\1"),
    (r"backbone\.neck\.fuse\.(\d)", r"necks.pyramid_fusion_op.\1"),
    (r"aux_head\.conv\.0", "necks.aux_head.convs.conv"),
    (r"aux_head\.conv\.1", "necks.aux_head.convs.bn"),
    (r"aux_head\.fc", "necks.aux_head.fc"),
    (r"fc", "cls_head.fc_cls"),
    (r"(backbone\..*)", r"\1"),
]
MMACTION = [
    (r"backbone\.neck\.spatial\.0", "neck.spatial_modulation.spatial_modulation.0.0.conv"),
    (r"backbone\.neck\.spatial\.1", "neck.spatial_modulation.spatial_modulation.0.0.bn"),
    (r"backbone\.neck\.temporal\.(\d)", r"neck.temporal_modulation_ops.\1.conv.conv"),
    (r"backbone\.neck\.downsample", "neck.downsample_ops.0.conv.conv"),
    (r"backbone\.neck\.top_down\.levels\.(\d)\.0", r"neck.level_fusion_1.downsamples.\1.conv.conv"),
    (r"backbone\.neck\.top_down\.levels\.(\d)\.1", r"neck.level_fusion_1.downsamples.\1.conv.bn"),
    (r"backbone\.neck\.top_down\.fuse\.0", "neck.level_fusion_1.fusion_conv.conv"),
    (r"backbone\.neck\.top_down\.fuse\.1", "neck.level_fusion_1.fusion_conv.bn"),
    (r"backbone\.neck\.bottom_up\.levels\.(\d)\.0", r"neck.level_fusion_2.downsamples.\1.conv.conv"),
    (r"backbone\.neck\.bottom_up\.levels\.(\d)\.1", r"neck.level_fusion_2.downsamples.\1.conv.bn"),
    (r"backbone\.neck\.bottom_up\.fuse\.0", "neck.level_fusion_2.fusion_conv.conv"),
    (r"backbone\.neck\.bottom_up\.fuse\.1", "neck.level_fusion_2.fusion_conv.bn"),
    (r"backbone\.neck\.fuse\.0", "neck.pyramid_fusion.conv"),
    (r"backbone\.neck\.fuse\.1", "neck.pyramid_fusion.bn"),
    (r"aux_head\.conv\.0", "neck.aux_head.conv.conv"),
    (r"aux_head\.conv\.1", "neck.aux_head.conv.bn"),
    (r"aux_head\.fc", "neck.aux_head.fc"),
    (r"fc", "cls_head.fc_cls"),
    (r"backbone\.conv1", "backbone.conv1.conv"),
    (r"backbone\.bn1", "backbone.conv1.bn"),
    (r"backbone\.(layer\d\.\d+)\.conv1", r"backbone.\1.conv1.conv.net"),  # of TSM alone
    (r"backbone\.(layer\d\.\d+)\.conv(\d)", r"backbone.\1.conv\2.conv"),
    (r"backbone\.(layer\d\.\d+)\.bn(\d)", r"backbone.\1.conv\2.bn"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.0", r"backbone.\1.downsample.conv"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.1", r"backbone.\1.downsample.bn"),
]


def theirs(net: Any, rules: list[tuple[str, str]]) -> dict[str, Tensor]:
    state = {}
    for key, value in net.state_dict().items():
        start, _, leaf = key.rpartition(".")
        name = next(re.sub(f"^{old}$", new, start) for old, new in rules if re.fullmatch(old, start))
        state[f"{name}.{leaf}"] = value
    return state


@pytest.mark.parametrize(
    ("source", "backbone", "temporal", "part"),
    [
        ("tpn", "resnet50", TSM(shift_shortcut=True), TPN()),
        ("tpn", "slowonly_resnet50", TSN(), TPN()),
        ("tpn", "slowonly_resnet101", TSN(), TPN(shallow_steps=2)),
        ("tpn", "slowonly_resnet50", TSN(), TPN(aux_weight=0.0)),
        ("mmaction2", "resnet50", TSM(), TPN()),
        ("mmaction2", "slowonly_resnet50", TSN(), TPN()),
    ],
)
def test_every_kind_is_recognized(source: str, backbone: str, temporal: Any, part: TPN) -> None:
    with torch.device("meta"):
        net = videozoo.compose(backbone, temporal, [part], num_classes=7)
    rules = AUTHORS if source == "tpn" else MMACTION
    if backbone != "resnet50":
        rules = [rule for rule in rules if ".net" not in rule[1]]
    state = theirs(net, rules)
    converted, found = convert_checkpoint(state)
    assert found == source
    assert videozoo.ModelSpec.from_dict(converted.spec) == net.spec
    assert {key: value.shape for key, value in converted.state.items()} == {
        key: value.shape for key, value in net.state_dict().items()
    }
    assert not converted.dropped
    assert not converted.alternatives
    with pytest.raises(ConvertError, match="no place for"):
        convert_checkpoint({**state, f"{'necks' if source == 'tpn' else 'neck'}.other.weight": torch.zeros(1)})


def test_the_authors_tsm_without_a_neck_is_asked_for(tmp_path: Path) -> None:
    """Its shift shows in no key: what it is converted to says so, and its name or its config decides."""
    torch.manual_seed(0)
    net = videozoo.compose("resnet50", TSM(shift_shortcut=True), num_classes=7).eval()
    state = {key.replace("fc.", "cls_head.fc_cls."): value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    torch.save({"state_dict": state, "meta": {"config": "model = dict(tsm=True)"}}, tmp_path / "b.pth")
    with pytest.warns(UserWarning, match="also fit tsm_r50; converted as tsn_r50"):
        model, _, source = convert_file(tmp_path / "a.pth")
    assert (source, model.spec.temporal) == ("mmaction2", TSN())
    for file, name in (("a.pth", "tsm_r50"), ("b.pth", None)):
        model, _, _ = convert_file(tmp_path / file, name=name)
        assert model.spec.temporal == TSM(shift_shortcut=True)


@pytest.mark.parametrize("backbone", ["slowonly_resnet50", "slowonly_resnet101"])
def test_the_authors_slowonly_without_a_neck(backbone: str) -> None:
    with torch.device("meta"):
        net = videozoo.compose(backbone, num_classes=7)
    converted, source = convert_checkpoint(theirs(net, AUTHORS))
    assert source == "tpn"
    assert videozoo.ModelSpec.from_dict(converted.spec) == net.spec
    assert set(converted.state) == set(net.state_dict())
