"""Tests of compositions with other timm families and of augmenters on custom models."""

import json
from typing import Any

import pytest
import small_backbones  # noqa: F401  # registers them
import timm
import torch
import torch.nn.functional as F
import torchvision
from helpers import calibrate, clips, each_module, randomize
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM, TSN, ModelSpec
from videozoo.augment import AUGMENTERS, ArcConv2d, CrossTemporalNorm2d
from videozoo.augment.dynamic_norm import DynamicNorm2d
from videozoo.layers.time_aware import mixes_time
from videozoo.surgery import PreConv2d, RelayStage, find_blocks
from videozoo.temporal import ABM, TDN, TEA, TEMPORAL, BLVNetTAM

FAMILIES = [
    "resnet10t",
    "resnet26d",
    "resnet50",
    "seresnet18",
    "seresnet50",
    "resnext50_32x4d",
    "regnetx_002",
    "regnety_002",
    "mobilenetv2_050",
    "efficientnet_b0",
    "efficientnetv2_rw_t",
]
# Families whose spatial convolutions in stages 2 to 4 are all grouped or depth-wise.
WITHOUT_PLAIN_CONVOLUTIONS = ["resnext50_32x4d", "regnetx_002", "regnety_002", "mobilenetv2_050", "efficientnet_b0"]
T = 3


def acts(backbone: str, temporal: Any, augmenters: list[Any]) -> None:
    """The composition answers, clips stay apart, its parts act, and order matters as its parts say."""
    frames = T * getattr(temporal, "frames_per_segment", 1)
    net = videozoo.compose(backbone, temporal, augmenters, num_classes=4, num_frames=frames)
    randomize(net).eval().requires_grad_(False)
    calibrate(net, clips(3, frames, 64, seed=8))
    x = clips(2, frames, 64)
    y = net(x)
    assert y.shape == (2, 4)
    assert y.isfinite().all()
    scale = y.abs().max()
    assert (net(x[1:]) - y[1:]).abs().max() < 5e-4 * scale
    moved = (net(x.roll(1, 2)) - y).abs().max()  # SmallBigNet does not tell a clip from its reverse
    if type(temporal) is TSN and all(type(part) is ARC for part in augmenters):
        assert moved < 1e-4 * scale
    else:
        assert moved > 1e-3 * scale
    assert set(net.sites) == {type(part).__name__.lower() for part in (temporal, *augmenters)}
    assert all(net.backbone.get_submodule(name) for names in net.sites.values() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("temporal", [pytest.param(TSN(), marks=pytest.mark.slow), TSM()])
@pytest.mark.parametrize("augmenters", [[], [DNR(ct_group_frames=2)]], ids=["none", "dnr"])
@pytest.mark.parametrize("backbone", FAMILIES)
def test_families_of_timm(backbone: str, temporal: Any, augmenters: list[Any]) -> None:
    acts(backbone, temporal, augmenters)


@pytest.mark.slow
@pytest.mark.parametrize("temporal", [TSN(), TSM()])
@pytest.mark.parametrize("backbone", [name for name in FAMILIES if name not in WITHOUT_PLAIN_CONVOLUTIONS])
def test_arc_where_there_are_plain_convolutions(backbone: str, temporal: Any) -> None:
    augmenters = [ARC(stages=(1, 2))] if backbone.startswith("efficientnetv2") else [ARC()]
    acts(backbone, temporal, augmenters)


@pytest.mark.parametrize("backbone", WITHOUT_PLAIN_CONVOLUTIONS)
def test_arc_explains_why_it_finds_no_convolution(backbone: str) -> None:
    with pytest.raises(ValueError, match=r"ARC: nothing to change .* are grouped.*plain spatial convolutions"):
        videozoo.compose(backbone, TSM(), [ARC()])


TOGETHER = [[], [ARC()], [DNR()], [DNR(), ARC()], [ARC(), DNR(interlace=False, ct_group_frames=2)]]


# Res2Net, which TEA needs, is the one backbone of these that is not small.
PAIRS = [
    pytest.param(
        kind(),
        augmenters,
        id=f"{kind.__name__}-{'+'.join(type(part).__name__ for part in augmenters)}",
        marks=[pytest.mark.slow] if len(augmenters) > 1 or (kind is TEA and augmenters) else [],
    )
    for kind in TEMPORAL.values()
    for augmenters in TOGETHER
]


@pytest.mark.parametrize(("temporal", "augmenters"), PAIRS)
def test_every_pair_on_one_backbone(temporal: Any, augmenters: list[Any]) -> None:
    assert {kind for part in augmenters if (kind := type(part))} <= set(AUGMENTERS.values())
    own = {TDN: "resnet18", ABM: "resnet18", TEA: "res2net50_26w_4s", BLVNetTAM: "small_blresnet"}
    acts(own.get(type(temporal), "resnet14t"), temporal, augmenters)


@pytest.mark.parametrize("backbone", ["mobilenetv2_050", "efficientnet_b0", "regnety_002"])
def test_norms_that_carry_an_activation_keep_it(backbone: str) -> None:
    """With the trained pair kept the network starts as it was, which it would not without its activations."""
    base = randomize(videozoo.compose(backbone, TSM(), num_classes=4, num_frames=T)).eval()
    calibrate(base, clips(3, T, 64, seed=8))
    net = videozoo.compose(backbone, TSM(), [DNR(keep_affine=True)], num_classes=4, num_frames=T).eval()
    result = net.load_state_dict(base.state_dict(), strict=False)
    assert not result.unexpected_keys
    x = clips(2, T, 64)
    with torch.no_grad():
        assert (net(x) - base(x)).abs().max() < 1e-3 * base(x).abs().max()
    fused = {name: type(m.act) for name, m in each_module(base, BatchNormAct2d)}
    dynamic = {name: type(m.act) for name, m in net.named_modules() if isinstance(m, DynamicNorm2d)}
    assert dynamic
    assert dynamic == {name: fused[name] for name in dynamic}


@pytest.mark.parametrize("backbone", ["resnet10t", "mobilenetv2_050"])
def test_shift_and_recursion_share_one_convolution(backbone: str) -> None:
    if backbone in WITHOUT_PLAIN_CONVOLUTIONS:
        net = videozoo.compose(backbone, TSM())
        assert all(type(net.backbone.get_submodule(n)) is PreConv2d for n in net.sites["tsm"])
        return
    net = videozoo.compose(backbone, TSM(), [ARC()])
    both = set(net.sites["tsm"]) & set(net.sites["arc"])
    assert both
    assert all(type(net.backbone.get_submodule(name)) is ArcConv2d for name in both)
    assert mixes_time(net)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet18.tv_in1k", r"pass backbone='resnet18', backbone_weights='tv_in1k'"),
        ("resnett18", "timm has no model 'resnett18'; near: resnet18"),
        ("resnet5", "timm has no model 'resnet5'; near: resnet50"),
        ("hf-hub:timm/resnet18.a1_in1k", r"no model name .*backbone='resnet18', backbone_weights='a1_in1k'"),
        ("./weights", "'./weights', which is no model name of timm"),
        ("no such thing", "timm has no model"),
        ("", "timm has no model|compose: "),
        ("vit_tiny_patch16_224", "transformer on patches; use a convolutional backbone"),
        ("deit_tiny_patch16_224", "use a convolutional backbone"),
        ("swin_tiny_patch4_window7_224", "use a convolutional backbone"),
        ("tsn_r18", "a model of videozoo itself"),
        ("arc_tsm_r50", "a model of videozoo itself"),
        ("", "backbone is ''; pass a name of timm"),
        (None, "backbone is None; pass a name of timm"),
        ("coat_tiny", "coat_tiny gives features of several scales, not maps"),
    ],
)
def test_backbones_that_cannot_be_used_are_refused(backbone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        videozoo.compose(backbone)


@pytest.mark.parametrize("backbone", ["resmlp_12_224", "efficientformer_l1"])
def test_models_without_feature_maps_are_refused(backbone: str) -> None:
    with pytest.raises(ValueError, match=r"gives features \(1, \d+, \d+\), not maps .* use a convolutional backbone"):
        videozoo.compose(backbone)


@pytest.mark.parametrize("backbone", ["fasternet_t0", "shvit_s1"])
def test_cnns_with_patch_embeddings_are_supported(backbone: str) -> None:
    with torch.device("meta"):
        assert videozoo.compose(backbone, num_classes=3)(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"temporal": "tsm"}, r"'tsm' is not a part; pass an instance such as TSM\(shift_div=8\)"),
        ({"temporal": TSM}, "is not a part"),
        ({"augmenters": ARC()}, r"augmenters is ARC\(.*pass a list of parts"),
        ({"augmenters": "arc"}, "augmenters is 'arc'; pass a list of parts"),
        ({"augmenters": ["arc"]}, "'arc' is not a part"),
        ({"augmenters": [ARC]}, "is not a part"),
        ({"augmenters": [ARC(), ARC(num_steps=2)]}, "given twice"),
        ({"temporal": ARC()}, r"temporal is ARC\(.*pass one temporal module .* and a list of augmenters"),
        ({"augmenters": [TSM()]}, r"augmenters are \(TSM\(.*pass one temporal module"),
        ({"num_frames": 0}, "num_frames is 0; need a whole number, 1 or more"),
        ({"num_frames": 2.5}, "num_frames is 2.5"),
        ({"num_classes": -1}, "num_classes is -1; need a whole number, 0 or more"),
        ({"in_chans": 0}, "in_chans is 0"),
        ({"drop_rate": 1.5}, "drop_rate is 1.5; need a number from 0 to below 1"),
        ({"drop_path_rate": -0.1}, "drop_path_rate is -0.1"),
        ({"augmenters": [ARC(stages=(7,))]}, r"stages \[7\] do not exist"),
        ({"augmenters": [ARC(num_steps=1000)]}, "cannot be cut into num_steps=1000"),
        ({"temporal": TSM(), "augmenters": [DNR(interlace=True)]}, "at most one method that works before"),
    ],
)
def test_compositions_that_make_no_sense_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        videozoo.compose("resnet10t", **kwargs)


def test_parts_that_need_blocks_refuse_families_without_known_blocks() -> None:
    videozoo.compose("convnext_atto", num_classes=3, num_frames=2)
    with pytest.raises(ValueError, match="no residual block with a known first convolution"):
        videozoo.compose("convnext_atto", TSM())
    with pytest.raises(ValueError, match=r"DNR: nothing to change in ConvNeXt"):
        videozoo.compose("convnext_atto", TSN(), [DNR()])


@pytest.mark.parametrize("augmenters", [(), (ARC(num_steps=2, stages=(2,), fusion=False),), (DNR(relay="se"), ARC())])
@pytest.mark.parametrize("temporal", [TSN(), TSM(shift_div=4)])
def test_specs_survive_json(temporal: Any, augmenters: tuple[Any, ...]) -> None:
    spec = ModelSpec("resnet10t", temporal, augmenters, 4, 7, 3, 0.5, 0.1)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no backbone"),
        ({"backbone": "resnet18", "frames": 8}, r"unknown fields \['frames'\]"),
        ({"backbone": "resnet18", "temporal": {"name": "tsx"}}, "unknown part 'tsx'; known are tsn, tsm"),
        ({"backbone": "resnet18", "augmenters": [{"name": "arc", "n": 4}]}, r"arc has no options \['n'\]"),
        ({"backbone": "resnet18", "augmenters": [{"name": "arc", "num_steps": 0}]}, "num_steps is 0"),
    ],
)
def test_broken_specs_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_dict(data)


class OwnBlock(nn.Module):
    """Somebody's block with names of their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.norm_a = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm_b = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm_a(self.first(x)))
        return F.relu(x + self.norm_b(self.second(y)))


class OwnNet(nn.Module):
    """Somebody's model with a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.trunk = nn.Sequential(OwnBlock(8), OwnBlock(8), OwnBlock(8))
        self.out = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trunk(self.stem(x).relu())
        return self.out(x.mean((2, 3)))


def folded(batch: int = 2, size: int = 16) -> Tensor:
    """Frames (B*T, 3, H, W)."""
    return clips(batch, T, size).transpose(1, 2).flatten(0, 1)


def test_arc_alone_on_a_custom_model() -> None:
    net = OwnNet()
    x = folded()
    before = net.eval()(x)
    names = ARC().apply(net, T)
    assert names == [f"trunk.{i}.{conv}" for i in range(3) for conv in ("first", "second")]
    assert torch.equal(net(x), before)  # behind ReLUs it starts as it was
    randomize(net)
    assert not torch.equal(net(x), before)
    net.train()(x).sum().backward()


def test_dnr_alone_on_a_custom_model_relays_over_its_blocks() -> None:
    net = OwnNet()
    names = DNR().apply(net, T)
    assert sorted(names) == sorted(f"trunk.{i}.{norm}" for i in range(3) for norm in ("norm_a", "norm_b"))
    assert type(net.trunk) is RelayStage
    assert sum("phi_h" in k for k, _ in net.trunk.named_parameters()) > 0
    net.train()(folded()).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("depth", [18, 50])
def test_augmenters_alone_on_a_resnet_of_torchvision(depth: int) -> None:
    make = {18: torchvision.models.resnet18, 50: torchvision.models.resnet50}[depth]
    net: Any = make(num_classes=5).eval()
    assert next(b.name for b in find_blocks(net)) == "layer1.0"
    blocks = sum({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth])
    assert len(DNR().apply(net, T)) == 3 * blocks
    x = folded(size=32)
    assert net(x).shape == (6, 5)
    net.train()(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    other: Any = make(num_classes=5).eval()
    names = ARC().apply(other, T)
    assert {"layer2.0.conv1" if depth == 18 else "layer2.0.conv2", "layer4.1.conv2"} <= set(names)
    assert not [name for name in names if "downsample" in name]
    assert other(x).isfinite().all()
    tsm: Any = make(num_classes=5)
    assert len(TSM().apply(tsm, T)) == blocks


def test_dnr_on_torchvision_equals_dnr_on_timm() -> None:
    theirs: Any = torchvision.models.resnet18(num_classes=5)
    timms = timm.create_model("resnet18", num_classes=5)
    for net in (theirs, timms):
        DNR().apply(net, T)
    theirs.load_state_dict(randomize(timms).state_dict())
    x = folded(size=32)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(x), timms.eval()(x))


def test_augmenters_alone_on_a_flat_sequence() -> None:
    def flat() -> nn.Sequential:
        convs = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        return nn.Sequential(*convs, nn.Conv2d(8, 8, 1))

    net = flat()
    assert ARC().apply(net, T) == ["3"]  # never the convolution that sees the frames
    assert net(folded()).shape == (6, 8, 12, 12)
    net = flat()
    assert DNR().apply(net, T) == ["1", "4"]
    assert [type(m) for _, m in each_module(net, CrossTemporalNorm2d)] == [CrossTemporalNorm2d] * 2
    net(folded()).sum().backward()


def test_dnr_refuses_unsupported_models() -> None:
    with pytest.raises(ValueError, match="DNR: nothing to change in Linear"):
        DNR().apply(nn.Linear(3, 3), T)
    with pytest.raises(ValueError, match="DNR: nothing to change in Sequential"):
        DNR().apply(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), T)
    with pytest.raises(ValueError, match="interlace=True, but OwnNet"):
        DNR(interlace=True).apply(OwnNet(), T)
    net = OwnNet()
    DNR().apply(net, T)
    with pytest.raises(ValueError, match="DNR: "):
        DNR().apply(net, T)
