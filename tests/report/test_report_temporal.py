"""Tests that temporal convolutions that run as products of maps are counted and not changed."""

import pytest
import torch
from helpers import clips, randomize
from torch import nn

import videozoo
from videozoo.layers import TemporalAdaptive, TemporalConv
from videozoo.report import count_cost
from videozoo.report.cost import trace_operators


def test_temporal_convolution_counts_three_per_element_in_all_parents() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(TemporalConv(12, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            folded = x.transpose(1, 2).flatten(0, 1)
            return self.inner(self.inner(folded))

    counts = trace_operators(Twice(), (12, 5, 4, 3))
    own = 2 * 3 * 5 * 12 * 4 * 3
    assert [counts[name]["conv"] for name in ("", "inner", "inner.0")] == [own] * 3


@pytest.mark.parametrize("name", ["tanet_r18", "tdn_r18"])
def test_model_is_counted_with_them_and_not_changed(name: str) -> None:
    frames = 40 if name.startswith("tdn") else 8
    model = randomize(videozoo.create_model(name, num_classes=4, num_frames=frames)).eval()
    kinds = [type(m) for m in model.modules()]
    assert TemporalAdaptive in kinds or TemporalConv in kinds
    x = clips(1, frames, 32)
    with torch.no_grad():
        expected = model(x)
        count_cost(model, (3, 32, 32))
        assert [type(m) for m in model.modules()] == kinds
        assert not any(m._forward_hooks for m in model.modules())
        torch.testing.assert_close(model(x), expected)
