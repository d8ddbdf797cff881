"""Temporal convolutions that a counter sees: the output of ours, on a copy."""

import pytest
import torch
from helpers import clips, randomise
from torch import nn

import videozoo
from videozoo.layers import TemporalAdaptive, TemporalConv
from videozoo.report import count_cost
from videozoo.report.temporal import CountedTemporalAdaptive, CountedTemporalConv, use_convolutions


@pytest.mark.parametrize("make", [TemporalConv, TemporalAdaptive])
def test_the_convolution_gives_the_same_output(make: type[nn.Module]) -> None:
    layer = make(12, 5).double().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(10, 12, 4, 3, dtype=torch.float64)  # two clips of five steps
    expected = layer(x)
    net = nn.Sequential(layer)
    assert use_convolutions(net) == ["0"]
    assert type(net[0]) in (CountedTemporalConv, CountedTemporalAdaptive)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)
    assert use_convolutions(net) == []


@pytest.mark.parametrize("name", ["tanet_r18", "tdn_r18"])
def test_a_network_is_counted_with_them_and_keeps_its_own(name: str) -> None:
    frames = 40 if name.startswith("tdn") else 8
    model = randomise(videozoo.create_model(name, num_classes=4, num_frames=frames)).eval()
    kinds = [type(m) for m in model.modules()]
    assert TemporalAdaptive in kinds or TemporalConv in kinds
    x = clips(1, frames, 32)
    with torch.no_grad():
        expected = model(x)
        count_cost(model, (3, 32, 32))
        assert [type(m) for m in model.modules()] == kinds
        use_convolutions(model)
        torch.testing.assert_close(model(x), expected)
