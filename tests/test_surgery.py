"""Tests of the functions that change a model in place."""

from typing import Any

import pytest
import timm
import torch
from helpers import small_resnet
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from videozoo.augment import ARC
from videozoo.layers import TemporalShift
from videozoo.surgery import (
    BLOCK_SITES,
    PreConv2d,
    RelayStage,
    adopt,
    find_blocks,
    hand_over,
    insert_before,
    replace_modules,
    set_submodule,
    stage_modules,
)
from videozoo.temporal import MSN, TDN, TEA, TSM


class Double(nn.Module):
    """Twice its input."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_pre_conv_runs_the_module_first_and_shares_the_parameters() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, stride=2)
    new = PreConv2d.from_conv(conv, Double())
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(new(x), conv(2 * x))
    assert new.weight is conv.weight
    assert new.bias is conv.bias
    assert list(new.state_dict()) == ["weight", "bias"]
    assert not isinstance(new, nn.Conv2d)  # tools would take its weight for all of it


def test_an_earlier_optimizer_stays_valid() -> None:
    net = small_resnet()
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    insert_before(net, lambda _: Double())
    before = net.layer1[0].conv1.weight.clone()
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not torch.equal(net.layer1[0].conv1.weight, before)


def test_adopt_does_not_change_its_argument() -> None:
    conv = nn.Conv2d(3, 4, 3)
    new = adopt(PreConv2d, conv)
    new.pre = nn.Identity()
    assert not hasattr(conv, "pre")
    assert list(dict(conv.named_children())) == []


class _Other(nn.Conv2d):
    pass


def test_unknown_convolutions_and_hooks_are_refused() -> None:
    with pytest.raises(ValueError, match="PreConv2d: cannot take over a _Other"):
        PreConv2d.from_conv(_Other(3, 4, 3), nn.Identity())
    hooked = nn.Conv2d(3, 4, 3)
    hooked.register_forward_pre_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"has hooks.*remove them first"):
        PreConv2d.from_conv(hooked, nn.Identity())


@pytest.mark.parametrize("training", [True, False])
def test_a_new_module_takes_the_mode_of_the_old_one(training: bool) -> None:
    net = nn.Sequential(nn.BatchNorm2d(3)).train(training)
    set_submodule(net, "0", nn.BatchNorm2d(3))
    assert net[0].training == training


def test_set_submodule_needs_a_module_there() -> None:
    with pytest.raises(AttributeError):
        set_submodule(nn.Sequential(nn.ReLU()), "5", nn.ReLU())


def test_replace_modules_never_visits_new_modules() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1)))
    names = replace_modules(net, lambda m, _: type(m) is nn.ReLU, lambda m, _: nn.Sequential(m))
    assert names == ["0", "1.0"]
    assert isinstance(net[1][0], nn.Sequential)
    assert replace_modules(net, lambda m, _: type(m) is nn.Linear, lambda m, _: m) == []


def test_insert_before_acts_on_the_branch_only() -> None:
    """Behind a module that makes zeros nothing is left of a block but its shortcut: fresh norms shift nothing."""

    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    net = small_resnet().eval()
    expected = []
    net.layer1[1].register_forward_pre_hook(lambda _, args: expected.append(args[0].clone()))
    seen = []
    net.layer1[1].register_forward_hook(lambda _, __, out: seen.append(out))
    insert_before(net, lambda _: Zero())
    net(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(seen[0], expected[0])


def test_find_blocks_counts_within_each_stage() -> None:
    blocks = find_blocks(small_resnet((2, 1, 3, 1)))
    assert [(b.name, b.parent, b.index) for b in blocks] == [
        (f"layer{s}.{i}", f"layer{s}", i) for s, n in enumerate((2, 1, 3, 1), 1) for i in range(n)
    ]


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "regnetx_002", "mobilenetv2_100", "efficientnet_b0"])
def test_sites_name_modules_that_exist(backbone: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(backbone)
    blocks = find_blocks(net)
    assert blocks
    for block in blocks:
        convs = [name for name in (block.sites.first_conv, block.sites.second_conv) if name is not None]
        assert all(isinstance(block.module.get_submodule(name), nn.Conv2d) for name in convs)
        for norm, conv in ((block.sites.first_norm, convs[0]), (block.sites.second_norm, convs[-1])):
            module = block.module.get_submodule(norm)
            assert hasattr(module, "running_mean")
            if block.sites.first_conv is not None:
                assert module.num_features == block.module.get_submodule(conv).out_channels


def test_first_norms_follow_first_convolutions_in_the_forward() -> None:
    """The order of calls inside one block of every class, as its forward runs."""
    for backbone in ("resnet18", "resnet50", "regnety_002", "mobilenetv2_100", "efficientnetv2_rw_t"):
        net = timm.create_model(backbone).eval()
        for block in {type(b.module): b for b in find_blocks(net)}.values():
            order: list[str] = []
            sites = block.sites
            wanted = [s for s in (sites.first_conv, sites.first_norm, sites.second_conv, sites.second_norm) if s]
            for name in wanted:
                block.module.get_submodule(name).register_forward_hook(lambda *_, n=name, o=order: o.append(n))
            net(torch.randn(1, 3, 64, 64))
            if sites.first_conv is None:  # depth-wise separable: its second convolution comes between the norms
                wanted = [sites.first_norm, sites.second_conv, sites.second_norm]
            assert order == wanted, type(block.module)
            assert type(block.module) in BLOCK_SITES


@pytest.mark.parametrize(
    ("backbone", "stages"),
    [
        ("resnet50", [["layer1"], ["layer2"], ["layer3"], ["layer4"]]),
        ("resnet50d", [["layer1"], ["layer2"], ["layer3"], ["layer4"]]),
        ("regnetx_002", [["s1"], ["s2"], ["s3"], ["s4"]]),
    ],
)
def test_stages_are_the_papers(backbone: str, stages: list[list[str]]) -> None:
    with torch.device("meta"):
        net = timm.create_model(backbone)
    found = stage_modules(net)
    assert found is not None
    with_blocks = [[n for n in names if any(b.name.startswith(f"{n}.") for b in find_blocks(net))] for names in found]
    assert with_blocks == stages


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "efficientnet_b0", "efficientnetv2_rw_t"])
def test_stages_of_a_mobilenet_follow_its_resolutions(backbone: str) -> None:
    net = timm.create_model(backbone).eval()
    found = stage_modules(net)
    assert found is not None
    assert len(found) == 4
    sizes: dict[str, int] = {}
    for names in found:
        for name in names:
            net.get_submodule(name).register_forward_hook(
                lambda _, __, out, n=name: sizes.__setitem__(n, out.shape[-1])
            )
    net(torch.randn(1, 3, 64, 64))
    for stage, names in enumerate(found, 1):
        assert {sizes[name] for name in names if name.startswith("blocks")} == {64 // 2 ** (stage + 1)}


def test_models_without_known_stages() -> None:
    assert stage_modules(nn.Sequential(nn.Conv2d(3, 4, 3))) is None


class StatefulNorm(nn.Module):
    """Adds the state and counts it on: enough to see who got what."""

    def __init__(self, calls: int = 1) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.calls):
            x = hand_over(0, lambda state, cell, x=x: (x + 100 * ((state or 0) + 1), (state or 0) + 1))
        return x


def relay_stage(layers: int, distance: int, calls: int = 1) -> RelayStage:
    """A stage of identity-like blocks with a stateful norm."""
    blocks = (nn.Sequential(StatefulNorm(calls)) for _ in range(layers))
    return RelayStage.take_over(nn.Sequential(*blocks), [nn.Identity()], distance)


def test_relay_stage_hands_the_state_over_its_distance() -> None:
    assert relay_stage(4, 1)(torch.zeros(1)).item() == 100 * (1 + 2 + 3 + 4)
    assert relay_stage(4, 2)(torch.zeros(1)).item() == 100 * (1 + 1 + 2 + 2)
    assert relay_stage(5, 3)(torch.zeros(1)).item() == 100 * (1 + 1 + 1 + 2 + 2)


def test_relay_stage_starts_again_in_every_forward() -> None:
    stage = relay_stage(3, 1)
    assert torch.equal(stage(torch.zeros(2)), stage(torch.zeros(2)))


def test_relay_stage_is_a_sequence_of_its_blocks() -> None:
    stage = relay_stage(4, 1)
    blocks = [getattr(stage, str(i)) for i in range(4)]
    assert isinstance(stage, nn.Sequential)
    assert len(stage) == 4
    assert list(stage) == [stage[i] for i in range(4)] == blocks
    assert stage[-1] is blocks[3]
    assert type(stage[:2]) is RelayStage
    assert stage[:2](torch.zeros(1)).item() == 100 * (1 + 2)
    assert stage[:2].relay[0] is stage.relay[0]
    stage[1] = nn.Identity()  # a block without the module hands nothing on
    assert stage(torch.zeros(1)).item() == 100 * (1 + 2 + 3)
    del stage[1]
    stage.append(nn.Identity())
    stage.insert(0, nn.Identity())
    assert [list(stage)[i] for i in (1, 2, 3)] == [blocks[i] for i in (0, 2, 3)]
    assert stage[4] is list(stage)[4]
    assert stage(torch.zeros(1)).item() == 100 * (1 + 2 + 3)


def test_relay_stage_of_one_block_used_twice() -> None:
    block = nn.Sequential(StatefulNorm())
    stage = RelayStage.take_over(nn.Sequential(block, block), [nn.Identity()])
    assert stage(torch.zeros(1)).item() == 100 * (1 + 2)


def test_a_state_that_cannot_be_handed_over_is_refused() -> None:
    stage = relay_stage(2, 1)
    with pytest.raises(RuntimeError, match="outside the forward of its stage"):
        stage[0](torch.zeros(1))
    with pytest.raises(RuntimeError, match="calls its cross-layer norm twice"):
        relay_stage(1, 1, calls=2)(torch.zeros(1))
    with pytest.raises(RuntimeError, match="outside"):  # nothing is left behind by what failed
        stage[1](torch.zeros(1))
    with pytest.raises(ValueError, match="a child named relay"):
        RelayStage.take_over(stage, [])


def test_insert_before_returns_names_and_refuses_a_second_call() -> None:
    net = small_resnet((1, 1, 1, 1))
    assert insert_before(net, lambda _: TemporalShift(2)) == [f"layer{s}.0.conv1" for s in (1, 2, 3, 4)]
    with pytest.raises(ValueError, match="apply at most one method"):
        insert_before(net, lambda _: TemporalShift(2))
    assert type(net.layer1[0]) is BasicBlock


def _state(net: nn.Module) -> tuple[dict[str, type], list[str], dict[str, bool]]:
    modules = dict(net.named_modules(remove_duplicate=False))
    return {n: type(m) for n, m in modules.items()}, list(net.state_dict()), {n: m.training for n, m in modules.items()}


REFUSED: dict[str, Any] = {
    "TDN, selective kernels": ("skresnet18", TDN()),
    "MSN, no such stage": ("resnet18", MSN(stage=5)),
    "MSN, stages that are no sequence": ("regnety_002", MSN()),
    "TSM, weights that are merged": ("repvgg_a0", TSM()),
    "TEA": ("resnet18", TEA()),
    "ARC, too few channels": ("resnet18", ARC(num_steps=129)),
    "ARC, an unknown convolution in the last stage": ("nf_regnet_b0", ARC(layers=("pointwise",))),
    "ARC, weights that are merged": ("repvgg_a0", ARC()),
    "ARC, a layer with hooks": ("resnet18", ARC()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_does_not_change_the_model(case: str) -> None:
    backbone, part = REFUSED[case]
    with torch.device("meta"):
        net = timm.create_model(backbone, num_classes=0).eval()
    if "hooks" in case:
        net.layer4[1].conv2.register_forward_hook(lambda *_: None)
    before, modules = _state(net), list(net.modules())
    with pytest.raises(ValueError, match=r"TDN|TEA|ARC|stage|insert_before"):
        part.apply(net, 4)
    assert _state(net) == before
    assert all(a is b for a, b in zip(net.modules(), modules, strict=True))


def test_a_shared_block_gets_one_module() -> None:
    net = small_resnet((1, 1, 1, 1))
    net.layer4 = nn.Sequential(net.layer4[0], net.layer1[0])
    insert_before(net, lambda _: Double())
    assert net.layer4[1].conv1 is net.layer1[0].conv1
    assert type(net.layer1[0].conv1.pre) is Double
