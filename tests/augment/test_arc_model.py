"""Tests of ARC in whole models: parameters, placement, and equality with its base at the start."""

import copy
from typing import Any

import pytest
import timm
import torch
from helpers import each_module, randomize_norms, small_bottleneck_resnet, small_resnet
from torch import nn

import videozoo
from videozoo.augment import ARC, ArcConv2d
from videozoo.temporal import TSM

# Table 5c and the sentence on ResNet-50 of the paper, counted: 174 classes, stage k is the paper's res(k+1).
PARAMS = {
    ("resnet18", None): 11_265_774,
    ("resnet18", (1,)): 11_306_734,
    ("resnet18", (2,)): 11_405_038,
    ("resnet18", (3,)): 11_822_830,
    ("resnet18", (4,)): 13_493_998,
    ("resnet18", (3, 4)): 14_051_054,
    ("resnet18", (2, 3, 4)): 14_190_318,
    ("resnet50", None): 23_864_558,
    ("resnet50", (2, 3, 4)): 26_977_518,
}


def whole_numbers(net: nn.Module) -> nn.Module:
    """Sparse convolutions of -1, 0 and 1, and norms that add whole numbers: all maps are whole numbers."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(torch.randint(-9, 10, module.weight.shape).div(9, rounding_mode="trunc"))
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
                module.running_mean.copy_(torch.randint(-1, 2, module.running_mean.shape))
                module.weight.copy_(torch.randint(1, 3, module.weight.shape))
                module.bias.copy_(torch.randint(-1, 2, module.bias.shape))
    return net


@pytest.mark.parametrize(("backbone", "stages"), PARAMS)
def test_parameters_are_the_papers_integers(backbone: str, stages: tuple[int, ...] | None) -> None:
    augmenters = [] if stages is None else [ARC(stages=stages)]
    with torch.device("meta"):
        net = videozoo.compose(backbone, TSM(), augmenters, num_classes=174)
    assert sum(p.numel() for p in net.parameters()) == PARAMS[backbone, stages]


@pytest.mark.parametrize("name", ["arc_tsm_r18", "arc_tsn_r18"])
def test_named_rows_augment_res3_res4_res5(name: str) -> None:
    with torch.device("meta"):
        net = videozoo.create_model(name, num_classes=174)
    assert sum(p.numel() for p in net.parameters()) == PARAMS["resnet18", (2, 3, 4)]


def test_two_steps_have_the_parameters_of_equation_8() -> None:
    """13,588,206: the paper's table prints the number of four steps here and disagrees with its own equation."""
    with torch.device("meta"):
        net = videozoo.compose("resnet18", TSM(), [ARC(num_steps=2)], num_classes=174)
    assert sum(p.numel() for p in net.parameters()) == 13_588_206


def test_every_spatial_convolution_of_the_last_three_stages_and_nothing_else() -> None:
    for backbone in ("resnet18", "resnet50"):
        with torch.device("meta"):
            net = timm.create_model(backbone)
        wanted = [
            name
            for name, m in net.named_modules()
            if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and name.startswith(("layer2", "layer3", "layer4"))
        ]
        assert ARC().apply(net, 8) == wanted
        assert [name for name, _ in each_module(net, ArcConv2d)] == wanted


@pytest.mark.parametrize("make", [small_resnet, small_bottleneck_resnet])
@pytest.mark.parametrize("temporal", [None, TSM()])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_steps": 1},
        {"num_steps": 2},
        {"num_steps": 3},
        {"num_steps": 5},
        {"stages": (1, 2, 3, 4)},
        {"embedding": False},
        {"attention": False},
        {"fusion": False},
        {"interaction": "multiplicative"},
        {"attention_layer": "gru"},
        {"attention_layer": "gru", "interaction": "multiplicative", "aggregation": "S"},
        {"aggregation": "ST"},
        {"aggregation": "T"},
    ],
)
def test_starts_exactly_as_its_base(make: Any, temporal: TSM | None, options: dict[str, Any]) -> None:
    """On whole numbers, where no sum is rounded, whatever order a machine takes; the stem gives X >= 0."""
    base = whole_numbers(make().double()).eval()
    if temporal is not None:
        temporal.apply(base, 4)
    net = copy.deepcopy(base)
    ARC(**options).apply(net, 4)
    x = torch.randint(-2, 3, (8, 3, 40, 40)).double()
    with torch.no_grad():
        expected = base.forward_features(x)
        assert expected.abs().max() < 2**50
        assert (expected == expected.round()).all()
        assert torch.equal(net.forward_features(x), expected)


@pytest.mark.parametrize("options", [{}, {"attention_layer": "gru"}, {"embedding": False, "fusion": False}])
def test_weights_of_the_base_load_and_only_the_new_keys_are_missing(options: dict[str, Any]) -> None:
    base = small_resnet()
    net = small_resnet()
    names = ARC(**options).apply(net, 4)
    result = net.load_state_dict(base.state_dict(), strict=False)
    assert not result.unexpected_keys
    own = {"embed", "fuse", "attend", "gru"} & (
        {"gru", "embed", "fuse"} if options.get("attention_layer") == "gru" else {"embed", "fuse", "attend"}
    )
    if options.get("fusion") is False:
        own = {"attend"}
    found: dict[str, set[str]] = {}
    for key in result.missing_keys:
        (name,) = (n for n in names if key.startswith(f"{n}."))
        found.setdefault(name, set()).add(key.removeprefix(f"{name}.").split(".")[0])
    assert found == dict.fromkeys(names, own)


def test_first_steps_of_training_move_the_updater() -> None:
    """Nothing that starts at zero stays there: all of its gradients differ from zero at the start, but the GRU's
    gates, which follow in the second step."""
    for options in ({}, {"interaction": "multiplicative"}, {"attention_layer": "gru"}):
        net = randomize_norms(small_resnet())
        ARC(**options).apply(net, 4)  # type: ignore[arg-type]
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(8, 3, 40, 40)).square().mean().backward()
            optimizer.step()
        still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        assert not still


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 1)), {}, "of 1 convolutions.*1 are 1x1 and 0 are grouped"),
        (lambda: nn.Sequential(nn.Linear(3, 8)), {}, "there is no convolution in the stages from 2 on"),
        (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)), {}, "0 are 1x1 and 1 are grouped.*section 3.4"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3)), {"stages": (2,)}, "gives its stages"),
        (small_resnet, {"stages": (5,)}, "stages \\[5\\] do not exist.*stages 1 to 4"),
        (small_resnet, {"stages": (0,)}, "a stage is 0; need a whole number, 1 or more"),
        (small_resnet, {"num_steps": 17}, "layer2.0.conv1: 16 output channels cannot be cut into num_steps=17"),
    ],
)
def test_nothing_to_change_is_an_error(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"ARC: .*{message}"):
        ARC(**options).apply(make(), 4)


def test_twice_is_refused() -> None:
    net = small_resnet()
    ARC().apply(net, 4)
    with pytest.raises(ValueError, match="cannot refine a ArcConv2d"):
        ARC().apply(net, 4)
