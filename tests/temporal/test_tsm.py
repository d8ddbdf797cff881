"""Tests of TSM's placement and against a plain model with shifts in hooks."""

import pytest
import timm
import torch
from helpers import each_module, randomize_norms, slow_shift, small_resnet
from torch import nn

from videozoo.layers import TemporalShift
from videozoo.layers.time_aware import mixes_time
from videozoo.surgery import PreConv2d
from videozoo.temporal import TEMPORAL, TSM, TSN

# Blocks of each stage; the authors shift every second block where a stage has 23 or more.
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
# MobileNetV2's inverted residuals with expansion and shortcut: all but the first of each stage.
MOBILENET = [f"blocks.{s}.{b}.conv_pw" for s, n in enumerate((1, 2, 3, 4, 3, 3, 1)) for b in range(1, n)]


def sites(backbone: str) -> list[str]:
    """What TSM says that it changed."""
    with torch.device("meta"):
        return TSM().apply(timm.create_model(backbone), 8)


@pytest.mark.parametrize(("backbone", "count"), [("resnet18", 8), ("resnet34", 16), ("resnet50", 16)])
def test_every_block_of_a_resnet(backbone: str, count: int) -> None:
    names = sites(backbone)
    assert len(names) == count
    assert names == [f"layer{s}.{b}.conv1" for s, n in enumerate(DEPTHS[backbone], 1) for b in range(n)]


def test_every_second_block_of_resnet101() -> None:
    names = sites("resnet101")
    assert len(names) == 18
    assert names == [f"layer{s}.{b}.conv1" for s, n in enumerate(DEPTHS["resnet101"], 1) for b in range(0, n, 2)]


def test_ten_blocks_of_mobilenet_v2() -> None:
    assert len(MOBILENET) == 10
    assert sites("mobilenetv2_100") == MOBILENET


@pytest.mark.parametrize("backbone", ["resnet18", "resnet101", "mobilenetv2_100"])
def test_equals_a_plain_model_with_shifts_in_hooks(backbone: str) -> None:
    plain = randomize_norms(timm.create_model(backbone, num_classes=7).double()).eval()
    shifted = timm.create_model(backbone, num_classes=7).double().eval()
    shifted.load_state_dict(plain.state_dict())
    names = TSM(shift_div=4).apply(shifted, 3)
    for name in names:
        conv = plain.get_submodule(name)
        conv.register_forward_pre_hook(lambda _, args: (slow_shift(args[0], 3, shift_div=4),))
    x = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(shifted(x), plain(x))


def test_parameters_and_keys_stay() -> None:
    net = small_resnet()
    before = dict(net.named_parameters())
    keys = list(net.state_dict())
    TSM().apply(net, 4)
    after = dict(net.named_parameters())
    assert list(net.state_dict()) == keys
    assert all(after[k] is before[k] for k in before)
    assert {m.num_segments for _, m in each_module(net, TemporalShift)} == {4}
    assert mixes_time(net)


def test_shortcuts_are_not_shifted() -> None:
    net = small_resnet()
    TSM().apply(net, 4)
    assert not [name for name, _ in each_module(net, PreConv2d) if "downsample" in name]


def test_tsn_changes_nothing() -> None:
    net = small_resnet()
    assert TSN().apply(net, 4) == []
    assert not mixes_time(net)


def test_unknown_models_and_second_shifts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no residual block.*BLOCK_SITES"):
        TSM().apply(nn.Sequential(nn.Conv2d(3, 8, 3)), 4)
    net = small_resnet()
    TSM().apply(net, 4)
    with pytest.raises(ValueError, match="already a PreConv2d"):
        TSM().apply(net, 4)


def test_wrong_shift_div_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="shift_div is 1"):
        TSM(shift_div=1)


def test_the_table_of_methods_names_each_class_in_lower_case() -> None:
    assert {kind.__name__.lower(): kind for kind in TEMPORAL.values()} == TEMPORAL
