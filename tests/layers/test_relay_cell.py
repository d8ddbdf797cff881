"""Tests of DNR's cell against equations 3 to 7."""

import pytest
import torch
from helpers import randomize
from reference_dnr import step, zero_state

from videozoo.layers import RelayCell
from videozoo.layers.relay_cell import RELAYS, RelayState

C = 6


def cell_of(**kwargs: object) -> RelayCell:
    """A cell in float64 with a random bias."""
    return randomize(RelayCell(C, **kwargs).double(), 0.5)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("reduction", [1, 2, 4, 100])
def test_three_steps_equal_the_equations(relay: str, depth: int, reduction: int) -> None:
    cell = cell_of(relay=relay, depth=depth, reduction=reduction)
    xs = torch.randn(3, 2, C, dtype=torch.float64)
    params = dict(cell.named_parameters())
    for b in range(2):
        slow, fast = zero_state(C), None
        for x in xs:
            slow = step(params, x[b], slow, relay)
            fast = cell.step(cell.embed(x[b : b + 1]), fast)
            torch.testing.assert_close(fast.h[0], slow[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(fast.c[0], slow[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("relay", RELAYS)
def test_zero_state_given_equals_no_state(relay: str) -> None:
    cell = cell_of(relay=relay)
    x = cell.embed(torch.randn(2, C, dtype=torch.float64))
    zero = torch.zeros(2, C, dtype=torch.float64)
    for with_zero, without in zip(cell.step(x, RelayState(zero, zero)), cell.step(x), strict=True):
        assert torch.equal(with_zero, without)


def test_none_forgets_and_the_others_remember() -> None:
    x = torch.randn(2, C, dtype=torch.float64)
    some = RelayState(torch.rand(2, C).double(), torch.randn(2, C).double())
    for relay in RELAYS:
        cell = cell_of(relay=relay, reduction=1)
        same = torch.equal(cell.step(cell.embed(x), some).h, cell.step(cell.embed(x)).h)
        assert same == (relay == "none"), relay


def test_gates_come_in_the_order_f_i_g_o() -> None:
    """Only the bias speaks: f is open, i and g are 1 and o is shut, so c = c' + 1 and h = 0."""
    cell = RelayCell(1)
    for parameter in cell.parameters():
        torch.nn.init.zeros_(parameter)
    cell.bias.data = torch.tensor([50.0, 50.0, 50.0, -50.0])
    h, c = cell.step(cell.embed(torch.zeros(1, 1)), RelayState(torch.zeros(1, 1), torch.full((1, 1), 3.0)))
    assert c.item() == pytest.approx(4)
    assert h.item() == pytest.approx(0)


def test_bottleneck_sizes_are_the_papers() -> None:
    """W1: C -> C/r, W2: C/r -> 4C, without bias; one bias b."""
    cell = RelayCell(64, reduction=4)
    assert {k: tuple(v.shape) for k, v in cell.named_parameters()} == {
        "phi_x.0.weight": (16, 64),
        "phi_x.2.weight": (256, 16),
        "phi_h.0.weight": (16, 64),
        "phi_h.2.weight": (256, 16),
        "bias": (256,),
    }


def test_gradient() -> None:
    cell = cell_of()
    x, h, c = (torch.randn(2, C, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda x, h, c: cell.step(cell.embed(x), RelayState(h, c)), (x, h, c))


def test_a_cell_that_never_sees_a_state_has_no_phi_h() -> None:
    assert RelayCell(C, recurrent=False).phi_h is None


@pytest.mark.parametrize("kwargs", [{"relay": "gru"}, {"reduction": 0}, {"depth": 0}])
def test_senseless_options_are_refused(kwargs: dict) -> None:
    with pytest.raises(ValueError, match="RelayCell: "):
        RelayCell(C, **kwargs)
