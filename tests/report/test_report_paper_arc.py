"""Tests of the ARC paper's way of counting, with every printed digit of Table 5c."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from videozoo.augment import ARC, ArcConv2d
from videozoo.report import PaperArcConv2d, use_paper_order
from videozoo.report.cost import total_macs, trace_operators
from videozoo.report.cost_cache import Meter
from videozoo.report.table_models import Setup, build_model

OPTIONS = [
    ARC(),
    ARC(num_steps=1),
    ARC(num_steps=2, embedding=False),
    ARC(num_steps=3, attention=False),
    ARC(fusion=False),
    ARC(interaction="multiplicative"),
    ARC(interaction="multiplicative", aggregation="S", attention_layer="gru"),
    ARC(aggregation="S"),
    ARC(aggregation="T", attention_layer="gru"),
    ARC(aggregation="ST"),
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_paper_order_gives_the_same_output(options: ARC, stride: int) -> None:
    conv = nn.Conv2d(6, 12, 3, stride, 1, dtype=torch.float64)
    ours = ArcConv2d.from_layer(conv, 4, options)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    paper = PaperArcConv2d.from_arc(ours)
    x = torch.randn(8, 6, 7, 5, dtype=torch.float64)
    assert paper.weight is ours.weight
    torch.testing.assert_close(paper(x), ours(x), rtol=0, atol=1e-12)


def test_swapping_changes_every_arc_layer_and_nothing_else() -> None:
    net = build_model(Setup("arc_tsm_r18", 5, 4))
    before = [name for name, m in net.named_modules() if type(m) is ArcConv2d]
    keys = list(net.state_dict())
    assert use_paper_order(net) == before
    assert len(before) == 12
    assert list(net.state_dict()) == keys
    assert use_paper_order(net) == []


# Table 5c: changed stages, printed GFLOPs, GFLOPs to three digits, parameters.
TABLE_5C = [
    ([], 14.57, 14.574, 11_265_774),
    ([2], 15.37, 15.371, 11_306_734),
    ([3], 15.44, 15.446, 11_405_038),
    ([4], 15.43, 15.433, 11_822_830),
    ([5], 15.43, 15.431, 13_493_998),
    ([4, 5], 16.29, 16.290, 14_051_054),
    ([3, 4, 5], 17.16, 17.162, 14_190_318),
]


@pytest.mark.parametrize(
    ("stages", "printed", "exact", "params"),
    [TABLE_5C[0], *(pytest.param(*row, marks=pytest.mark.slow) for row in TABLE_5C[1:-1]), TABLE_5C[-1]],
    ids=str,
)
def test_every_printed_digit_of_table_5c(stages: list[int], printed: float, exact: float, params: int) -> None:
    meter = Meter()
    setup = Setup("arc_tsm_r18", 174, 8).change({"options": {"res_stages": stages}})
    gmacs = meter.gmacs(setup, "arc")
    assert math.floor(gmacs * 100) / 100 == printed
    assert round(gmacs, 3) == exact
    assert meter.params_m(setup) * 1e6 == pytest.approx(params, abs=0.1)


@pytest.mark.slow
def test_resnet50() -> None:
    meter = Meter()
    plain, arc = Setup("tsm_r50", 174, 8), Setup("arc_tsm_r50", 174, 8)
    assert round(meter.gmacs(plain, "arc"), 2) == 32.96
    assert round(meter.gmacs(arc, "arc"), 3) == 37.205
    assert round(meter.params_m(plain) * 1e6) == 23_864_558
    assert round(meter.params_m(arc) * 1e6) == 26_977_518


@pytest.mark.slow
def test_our_order_costs_less() -> None:
    meter = Meter()
    setup = Setup("arc_tsm_r18", 174, 8)
    executed = meter.gmacs(setup, "executed")
    assert round(executed, 2) == 16.71
    net = build_model(setup)
    use_paper_order(net)
    plain_fvcore = total_macs(trace_operators(net, (3, 8, 224, 224))[""], "executed") / 1e9
    assert round(plain_fvcore, 2) == 17.09
    assert executed < plain_fvcore < meter.gmacs(setup, "arc")


def test_the_classifier_sees_every_frame() -> None:
    """16 frames cost exactly twice as much as 8, the classifier included."""
    meter = Meter()
    setup = Setup("tsm_r18", 174, 2)
    twice = meter.gmacs(replace(setup, num_frames=4), "arc")
    assert twice == pytest.approx(2 * meter.gmacs(setup, "arc"), rel=1e-12)
    assert meter.gmacs(replace(setup, num_frames=4), "executed") < 2 * meter.gmacs(setup, "executed")
