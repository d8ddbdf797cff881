"""Tests of the non-local block against its equation."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers.non_local import NonLocal3d, NonLocalOptions

AUTHORS = NonLocalOptions()
MMACTION = NonLocalOptions(is_scaled=False, pools_input=False, has_out_bias=False)
CASES = {
    "pyslowfast": AUTHORS,
    "pyslowfast dot product": replace(AUTHORS, pairwise="dot_product", pool=(2, 2, 2)),
    "mmaction": MMACTION,
    "mmaction dot product": replace(MMACTION, pairwise="dot_product"),
    "mmaction gaussian": replace(MMACTION, pairwise="gaussian"),
    "not pooled": replace(AUTHORS, pool=(1, 1, 1)),
}


def block(options: NonLocalOptions) -> NonLocal3d:
    """A block that no longer returns its input."""
    made = NonLocal3d(8, options).eval()
    with torch.no_grad():
        made.bn.weight.uniform_(0.6, 1.4)
        made.bn.running_mean.normal_(0, 0.2)
    return made


def pairs(own: NonLocal3d, x: Tensor) -> Tensor:
    """The block, position by position."""
    options, inner = own.options, 4

    def embed(conv: nn.Module, y: Tensor) -> Tensor:
        return y if isinstance(conv, nn.Identity) else F.conv3d(y, conv.weight, conv.bias)

    def pool(y: Tensor) -> Tensor:
        return F.max_pool3d(y, options.pool)

    if options.pools_input:
        keys, values = embed(own.phi, pool(x)), embed(own.g, pool(x))
    else:
        keys, values = pool(embed(own.phi, x)), pool(embed(own.g, x))
    theta = embed(own.theta, x)
    y = torch.empty(len(x), inner, *x.shape[2:])
    count = keys[0, 0].numel()
    for b in range(len(x)):
        for t, i, j in torch.cartesian_prod(*map(torch.arange, x.shape[2:])).tolist():
            products = (theta[b, :, t, i, j, None] * keys[b].flatten(1)).sum(0)
            if options.pairwise == "dot_product":
                weights = products / count
            else:
                weights = (products / inner**0.5 if options.is_scaled else products).softmax(0)
            y[b, :, t, i, j] = (values[b].flatten(1) * weights).sum(1)
    return own.bn(own.out(y)) + x


@pytest.mark.parametrize("case", CASES)
def test_equals_the_sum_over_all_pairs(case: str) -> None:
    own = block(CASES[case])
    x = torch.randn(2, 8, 2, 5, 4)
    with torch.no_grad():
        torch.testing.assert_close(own(x), pairs(own, x), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(own(x), x, atol=0.1)


@pytest.mark.parametrize("case", CASES)
def test_starts_as_the_identity_and_trains(case: str) -> None:
    own = NonLocal3d(8, CASES[case])
    x = torch.randn(2, 8, 2, 4, 4)
    assert torch.equal(own(x), x)
    assert (own.out.bias is None) == case.startswith("mmaction")
    assert isinstance(own.theta, nn.Identity) == case.endswith("gaussian")
    trained = block(CASES[case]).train()
    trained(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.parameters())


def test_half_precision_of_a_dot_product_does_not_overflow() -> None:
    own = block(CASES["mmaction dot product"])
    with torch.no_grad():
        for conv in (own.theta, own.phi):
            conv.weight.fill_(20.0)
    x = torch.rand(1, 8, 4, 16, 16) * 8
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        assert own._weights(own.theta(x).flatten(2), own.pool(own.phi(x)).flatten(2)).isfinite().all()


def test_a_clip_smaller_than_the_pooling_is_refused() -> None:
    own = block(CASES["pyslowfast dot product"])
    assert own(torch.zeros(1, 8, 2, 2, 2)).shape == (1, 8, 2, 2, 2)
    for size in ((1, 2, 2), (2, 1, 4), (2, 4, 1)):
        with pytest.raises(ValueError, match=r"non-local block: its input is .* less than its pooling of 2 x 2 x 2"):
            own(torch.zeros(1, 8, *size))
