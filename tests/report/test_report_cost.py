"""Tests of `count_cost` against hand counts and torch's counter."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import videozoo
from videozoo.layers import TemporalAdaptive, TemporalConv
from videozoo.report import count_cost
from videozoo.report.cost import total_macs, trace_operators
from videozoo.report.cost_cache import Meter
from videozoo.report.table_models import Setup

SMALL = (3, 64, 64)


def on_meta(name: str, **kwargs: Any) -> nn.Module:
    with torch.device("meta"):
        return videozoo.create_model(name, **kwargs)


class PerFrame(nn.Module):
    """Conv, norm, ReLU, max pooling, linear on the frames of a clip."""

    num_frames = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv(x.transpose(1, 2).flatten(0, 1))))
        return self.fc(torch.max_pool2d(x, 2).mean((2, 3)))


def test_hand_count() -> None:
    cost = count_cost(PerFrame(), (3, 8, 8))
    pixels = 2 * 8 * 8
    assert cost.by_operator == {"conv": 27 * 4 * pixels, "batch_norm": 2 * 4 * pixels, "linear": 2 * 4 * 5}
    assert cost.macs == sum(cost.by_operator.values()) == sum(cost.by_module.values())
    assert cost.by_module == {"conv": 27 * 4 * pixels, "bn": 2 * 4 * pixels, "fc": 2 * 4 * 5}
    assert cost.params == 108 + 8 + 25
    assert cost.clip_shape == (3, 2, 8, 8)
    assert cost.gmacs == cost.macs / 1e9
    counts = trace_operators(PerFrame(), (3, 2, 8, 8))[""]
    assert total_macs(counts, "products") == cost.macs - 8 * pixels
    assert total_macs(counts, "arc") == cost.macs + 4 * pixels + 4 * pixels  # ReLU, max pooling


def by_torch(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Multiply-adds of convolutions, linear maps and matrix products by torch's own counter, which counts both."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape, device="meta"))
    return counter.get_total_flops() / 2


def temporal_products(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of the temporal convolutions that run as products of maps: three per element."""
    sizes: list[int] = []
    kinds = (TemporalConv, TemporalAdaptive)
    handles = [
        m.register_forward_hook(lambda _, __, out: sizes.append(out.numel()))
        for m in model.modules()
        if isinstance(m, kinds)
    ]
    with torch.no_grad():
        model(torch.zeros(1, *shape, device="meta"))
    for handle in handles:
        handle.remove()
    return 3 * sum(sizes)


COUNTED = {  # frames
    "tsm_r18": 8,
    "tsn_r50": 8,
    "arc_tsm_r18": 8,
    "dnr_tsn_r50": 8,
    "tsm_mbv2": 8,
    "msn_r18": 8,
    "arc_msn_r18": 8,
    "trn_r18": 8,
    "tanet_r18": 8,
    "tdn_r18": 40,
    "slowonly_r50": 4,
    "slowfast_r18": 32,
    "dnr_slowfast_r18": 32,
    "r2plus1d_r34": 8,
    "tea_r50": 8,
    "dnr_tanet_r50": 8,
    "dnr_tdn_r50": 40,
    "dnr_r2plus1d_r34": 8,
    "tsn_bninception": 4,
}
SLOW = (
    "tea_r50",
    "arc_msn_r18",
    "r2plus1d_r34",
    "dnr_tanet_r50",
    "dnr_tdn_r50",
    "dnr_r2plus1d_r34",
    "tsn_bninception",
    "dnr_slowfast_r18",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in COUNTED]
)
def test_agrees_with_the_counter_of_torch(name: str) -> None:
    """To the last multiply-add, but for the temporal convolutions, of which torch sees only products of maps."""
    model, shape = on_meta(name, num_classes=174, num_frames=COUNTED[name]).eval(), (3, COUNTED[name], *SMALL[1:])
    temporal = temporal_products(model, shape)
    assert (temporal > 0) == name.startswith(("tanet", "tdn", "tea", "dnr_tanet", "dnr_tdn"))
    ours = total_macs(trace_operators(model, shape)[""], "products")
    assert ours == by_torch(model, shape) + temporal
    assert by_torch(model, shape) == pytest.approx(ours, rel=0.005)


@pytest.mark.slow
def test_model_is_not_changed() -> None:
    model = videozoo.create_model("dnr_tsm_r18", num_classes=5, num_frames=4).train()
    model.set_grad_checkpointing()
    seen: list[int] = []
    handle = model.backbone.layer1.register_forward_hook(lambda *_: seen.append(1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modules = dict(model.named_modules())
    cost = count_cost(model, SMALL)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert dict(model.named_modules()) == modules
    assert not seen
    assert list(model.backbone.layer1._forward_hooks) == [handle.id]
    assert not model.fc._forward_hooks
    assert not model.fc._forward_pre_hooks
    assert cost == count_cost(model.eval(), SMALL)


@pytest.mark.slow
def test_meta_parameters_and_other_types_count_the_same() -> None:
    real = videozoo.create_model("arc_tsm_r18", num_classes=5, num_frames=4)
    cost = count_cost(real, SMALL)
    assert count_cost(on_meta("arc_tsm_r18", num_classes=5, num_frames=4), SMALL) == cost
    assert count_cost(real.to(torch.bfloat16), SMALL) == cost
    assert {name.partition(".")[0] for name in cost.by_module} == {"backbone", "fc"}
    assert "backbone.layer4" in cost.by_module
    assert sum(cost.by_module.values()) == cost.macs


class _NeedsData(nn.Module):
    """Classifier that looks at its input, as a model of a user may do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.conv(x).mean((2, 3, 4))
        return self.fc(features) if features.isfinite().all() else features


def test_data_is_made_only_for_models_that_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_cost(_NeedsData(), (3, 8, 8), 2).by_operator == {"conv": 4 * 3 * 2 * 8 * 8, "linear": 4 * 5}
    expected = count_cost(videozoo.create_model("tsm_r18"), (3, 64, 64))
    monkeypatch.setattr("videozoo.report.cost._with_data", None)
    assert count_cost(videozoo.create_model("tsm_r18"), (3, 64, 64)) == expected


def test_size_and_frames_come_from_the_model() -> None:
    assert count_cost(on_meta("tsn_r18", num_frames=1)).clip_shape == (3, 1, 224, 224)
    with pytest.raises(ValueError, match=r"pass clip_size=\(3, 224, 224\), num_frames=8"):
        count_cost(nn.Identity())


def test_dnr_adds_at_most_one_per_cent() -> None:
    meter = Meter()
    plain = meter.gmacs(Setup("tsn_r50", 400, 8), "executed")
    dnr = meter.gmacs(Setup("dnr_tsn_r50", 400, 8), "executed")
    assert plain < dnr <= 1.01 * plain


def test_setups_with_other_classes_share_a_trace() -> None:
    meter = Meter()
    meter.gmacs(Setup("tsm_r18", 400, 2), "executed")
    shared = meter.gmacs(Setup("tsm_r18", 174, 2), "executed")
    assert len(meter._traces) == 1
    assert shared == Meter().gmacs(Setup("tsm_r18", 174, 2), "executed")
    assert shared == count_cost(on_meta("tsm_r18", num_classes=174, num_frames=2)).gmacs
