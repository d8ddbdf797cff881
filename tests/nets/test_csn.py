"""Tests of CSN: counts, blocks, and what the converter reads from keys."""

import pytest
import torch
from torch import Tensor, nn

import videozoo
from videozoo import ARC
from videozoo.hub.convert import mmaction_csn
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, build
from videozoo.report import count_cost

# Parameters with 400 classes, and GMACs of 32 frames of 256 pixels, as MMAction2 prints them.
PRINTED = {"csn_ir_r50": (13_131_152, 55.90), "csn_ir_r152": (29_703_568, 97.63), "csn_ip_r152": (33_016_592, 109.9)}


def mmaction_names(backbone: str) -> dict[str, Tensor]:
    """A state dict of ours under MMAction2's names, written from that code's side."""
    out = {}
    for key, value in build(ModelSpec(backbone, num_classes=9)).state_dict().items():
        path, _, leaf = key.removeprefix("backbone.").rpartition(".")
        where = ""
        if path.startswith("layer"):
            stage, index, path = path.split(".", 2)
            where = f"{stage}.{index}."
        last = "conv2.1" if "_ip_" in backbone else "conv2.0"
        names = {"fc": "cls_head.fc_cls", "conv2": f"{last}.conv", "conv2.2": f"{last}.conv", "bn2": f"{last}.bn"}
        names |= {"conv2.0": "conv2.0.conv", "conv2.1": "conv2.0.bn"}
        names |= {"downsample.0": "downsample.conv", "downsample.1": "downsample.bn"}
        names |= {f"{kind}{n}": f"conv{n}.{kind}" for kind in ("conv", "bn") for n in (1, 3)}
        out[f"{names[path]}.{leaf}" if path == "fc" else f"backbone.{where}{names[path]}.{leaf}"] = value
    return out


@pytest.mark.parametrize("name", PRINTED)
def test_parameters_and_cost_are_those_that_are_printed(name: str) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    cost = count_cost(model, (3, 256, 256))
    assert cost.params == PRINTED[name][0]
    assert cost.macs / 1e9 == pytest.approx(PRINTED[name][1], rel=5e-4)


def test_every_3x3x3_convolution_behind_the_stem_is_depthwise() -> None:
    for backbone in ("csn_ir_resnet50", "csn_ip_resnet50"):
        with torch.device("meta"):
            net = build(ModelSpec(backbone)).backbone
        convs = [module for name, module in net.named_modules() if isinstance(module, nn.Conv3d) and name != "conv1"]
        assert {conv.groups > 1 for conv in convs if conv.kernel_size == (3, 3, 3)} == {True}
        assert {conv.groups for conv in convs if conv.kernel_size != (3, 3, 3)} == {1}


@pytest.mark.parametrize("backbone", ["csn_ir_resnet50", "csn_ir_resnet101", "csn_ir_resnet152", "csn_ip_resnet152"])
def test_variants_are_detected_by_their_keys(backbone: str) -> None:
    state = mmaction_names(backbone)
    assert mmaction_csn.matches(state)
    converted, source = convert_checkpoint(state)
    assert (source, converted.spec["backbone"], converted.spec["num_frames"]) == ("mmaction2", backbone, 32)
    with torch.device("meta"):
        own = build(ModelSpec.from_dict(converted.spec)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in converted.state.items()}


def test_a_key_without_a_place_is_refused() -> None:
    state = mmaction_names("csn_ir_resnet50") | {"backbone.layer1.0.conv2.1.bn.weight": torch.zeros(64)}
    with pytest.raises(ConvertError, match=r"no place for backbone\.layer1\.0\.conv2\.1\.bn\.weight"):
        mmaction_csn.convert(state)


def test_arc_finds_no_convolution_that_it_can_refine() -> None:
    with pytest.raises(ValueError, match="are grouped"):
        videozoo.compose("csn_ir_resnet50", augmenters=[ARC(layers=("conv3d",))])


@pytest.mark.parametrize("backbone", ["csn_ir_resnet50", "csn_ip_resnet50"])
def test_gradients_reach_every_parameter_under_dnr(backbone: str) -> None:
    model = videozoo.compose(backbone, augmenters=[videozoo.DNR(ct_group_frames=1)], num_frames=8, num_classes=3)
    model(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
