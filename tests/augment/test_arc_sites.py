"""Tests of ARC's placement in custom models and models of other libraries."""

import copy
from typing import Any

import pytest
import timm
import torch
import torchvision
from helpers import randomize_norms, small_resnet
from timm.layers import Conv2dSame
from torch import Tensor, nn

from videozoo.augment import ARC, ArcConv2d
from videozoo.surgery import stage_modules
from videozoo.temporal import MSN, TSM, TANet


class Wrapper(nn.Module):
    """A user's own model: the head is registered before the backbone, and its convolution is no part of a stage."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(24, 24, 3, padding=1)
        self.body = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.body.forward_features(x)).mean((2, 3))


class Outer(Wrapper):
    """A wrapper of a wrapper."""

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def arc_names(net: nn.Module) -> list[str]:
    """The names of what ARC changed."""
    return [name for name, module in net.named_modules() if isinstance(module, ArcConv2d)]


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda net: net, ""),
        (Wrapper, "body."),
        (lambda net: Outer(Wrapper(net)), "body.body."),
        (lambda net: nn.Sequential(net, nn.ReLU()), "0."),
        (lambda net: nn.ModuleDict({"any": nn.ModuleList([net])}), "any.0."),
    ],
)
def test_a_backbone_inside_a_custom_model_is_changed_as_alone(wrap: Any, prefix: str) -> None:
    for stages in (None, (4,)):
        alone, net = small_resnet(), small_resnet()
        names = ARC(stages=stages).apply(wrap(net), 4)
        assert names == [f"{prefix}{name}" for name in ARC(stages=stages).apply(alone, 4)]
        assert arc_names(net) == [name.removeprefix(prefix) for name in names]


def test_two_backbones_and_motion_in_a_wrapper() -> None:
    net = nn.ModuleDict({"a": small_resnet(), "b": small_resnet((1, 1, 1, 1))})
    assert stage_modules(net)[1] == ["a.layer2", "b.layer2"]  # type: ignore[index]
    assert len(ARC().apply(net, 4)) == 12 + 6
    net = nn.ModuleDict({"a": small_resnet(), "b": small_resnet()})
    assert MSN(reach=1).apply(net, 4)[-2:] == ["a.layer2.motion", "b.layer2.motion"]


@pytest.mark.parametrize(
    ("name", "sites"),
    [("resnet18", 12), ("densenet121", 58), ("mobilenet_v3_small", 0), ("shufflenet_v2_x0_5", 0), ("mnasnet0_5", 0),
     ("efficientnet_b0", 0), ("regnet_y_400mf", 0), ("vgg11", 7), ("inception_v3", 54)],
)  # fmt: skip
def test_torchvision_models_keep_their_stem(name: str, sites: int) -> None:
    with torch.device("cpu" if "regnet" in name else "meta"):  # a RegNet computes its widths with tensors
        net = torchvision.models.get_model(name, **({"init_weights": False} if name == "inception_v3" else {}))
    first = next(n for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    if sites:
        names = ARC().apply(net, 4)
        assert len(names) == sites
        assert first not in names
    else:
        with pytest.raises(ValueError, match="1 see the model's input"):
            ARC().apply(net, 4)


def test_a_stem_is_found_by_its_channels() -> None:
    """Not by its place alone: a head may be registered before it."""
    head = nn.Conv2d(16, 16, 3)
    assert ARC().apply(nn.ModuleDict({"head": head, "stem": nn.Conv2d(3, 16, 3)}), 4) == ["head"]
    assert ARC().apply(nn.Sequential(nn.Conv2d(10, 8, 3), nn.Conv2d(8, 8, 3)), 4) == ["1"]  # optical flow


def test_stages_of_an_hrnet() -> None:
    with torch.device("meta"):
        net = timm.create_model("hrnet_w18_small")
    assert stage_modules(net) == [["layer1"], ["transition1", "stage2"], ["transition2", "stage3"],
                                  ["transition3", "stage4"]]  # fmt: skip
    names = ARC().apply(net, 4)
    assert {name.split(".")[0] for name in names} == {"transition1", "stage2", "transition2", "stage3", "transition3",
                                                      "stage4"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("xception41", r"of \d\d convolutions in the stages from 2 on, \d\d are 1x1 and \d\d are grouped"),
        ("mobilenetv2_050", "grouped"),
        ("repvgg_a0", r"stages.1.0.conv_kxk.conv is part of a RepVggBlock, whose reparameterize\(\) merges"),
        ("mobileone_s0", "nothing to change|merges"),
    ],
)
def test_refusals_name_the_reason(name: str, message: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name)
    before = {n: type(m) for n, m in net.named_modules()}
    with pytest.raises(ValueError, match=message):
        ARC().apply(net, 4)
    assert {n: type(m) for n, m in net.named_modules()} == before


def test_convolutions_of_a_vgg_lie_in_its_stages() -> None:
    with torch.device("meta"):
        net = timm.create_model("vgg11_bn")
    assert ARC().apply(net, 4) == ["features.15", "features.18", "features.22", "features.25"]


def test_padding_as_in_tensorflow_is_kept() -> None:
    """In ARC, behind a temporal module, and where the size is odd."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Conv2dSame(8, 8, 3, stride=2), nn.ReLU()).double()
    for size in (9, 10):
        x = torch.randn(4, 3, size, size).double()
        twin = copy.deepcopy(net)
        assert ARC().apply(twin, 2) == ["2"]
        torch.testing.assert_close(twin(x), net(x))
    with torch.device("meta"):
        backbone = timm.create_model("tf_efficientnetv2_b0")
        assert ARC().apply(backbone, 4) == ["blocks.2.0.conv_exp", "blocks.2.1.conv_exp"]
        assert TANet().apply(timm.create_model("tf_efficientnetv2_b0"), 4)


def test_a_convolution_under_two_names_is_changed_under_both() -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), conv, nn.ReLU(), conv)
    assert ARC().apply(net, 4) == ["1"]
    assert net[1] is net[3]
    assert isinstance(net[3], ArcConv2d)


@pytest.mark.parametrize("temporal", [TSM(), TANet()])
def test_either_order_gives_the_same_model(temporal: Any) -> None:
    torch.manual_seed(0)
    base = randomize_norms(small_resnet()).eval()
    nets = [copy.deepcopy(base), copy.deepcopy(base)]
    for net, parts in zip(nets, ([temporal, ARC()], [ARC(), temporal]), strict=True):
        torch.manual_seed(0)
        for part in parts:
            part.apply(net, 4)
    nets[1].load_state_dict(nets[0].state_dict())  # the same keys
    x = torch.randn(4, 3, 32, 32)
    assert torch.equal(nets[0](x), nets[1](x))
    with pytest.raises(ValueError, match="at most one method"):
        temporal.apply(nets[1], 4)


def test_maps_of_an_attention_are_no_features() -> None:
    with torch.device("meta"):
        net = timm.create_model("bat_resnext26ts")
    with pytest.raises(ValueError, match="6 are grouped, and 12 see"):
        ARC().apply(net, 4)
