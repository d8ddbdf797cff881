"""Tests of custom gradients against plain sums that autograd differentiates."""

import pytest
import torch
import torch.nn.functional as F
from helpers import slow_shift
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from videozoo.layers import MotionSqueeze, TemporalAdaptive, TemporalConv, TemporalDifference, TemporalShift
from videozoo.layers.correlation import displacements, local_correlation
from videozoo.layers.temporal_conv import mix_neighbors
from videozoo.shapes import frame_means

S = 4
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
FORMATS = [torch.contiguous_format, torch.channels_last]


def folded(channels: int, dtype: torch.dtype = torch.float64, memory: torch.memory_format = FORMATS[0]) -> Tensor:
    return torch.randn(2 * S, channels, 5, 4, dtype=dtype).to(memory_format=memory).requires_grad_()


def assert_same(got: Tensor, want: Tensor, *inputs: Tensor) -> None:
    """Outputs and gradients agree; the gradient of a map lies as the map does."""
    tolerance = TOLERANCE[got.dtype]
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
    weights = torch.randn_like(want)
    ours = torch.autograd.grad(got, inputs, weights, retain_graph=True)
    theirs = torch.autograd.grad(want, inputs, weights)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=10 * tolerance)


def slow_mix(x: Tensor, taps: Tensor) -> Tensor:
    count = len(taps)
    zeros = x.new_zeros(x.shape[0], count // 2, *x.shape[2:])
    padded = torch.cat([zeros, x, zeros], 1)
    taps = taps.expand(count, *x.shape[:3])[..., None, None]
    return torch.stack([taps[k] * padded[:, k : k + x.shape[1]] for k in range(count)]).sum(0)


def slow_correlation(a: Tensor, b: Tensor, reach: int) -> Tensor:
    side, (height, width) = 2 * reach + 1, a.shape[-2:]
    b = F.pad(b, (reach,) * 4)
    rows = [[(a * b[..., y : y + height, x : x + width]).sum(1) for x in range(side)] for y in range(side)]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def slow_displacements(correlation: Tensor) -> Tensor:
    """As in the paper: a Gaussian of width 5 around the maximum, sharpened 100 times."""
    side = correlation.shape[1]
    flat = correlation.flatten(1, 2)
    confidence, index = flat.max(1, keepdim=True)
    y = torch.arange(side).repeat_interleave(side)[:, None, None]
    x = torch.arange(side).repeat(side)[:, None, None]
    kernel = torch.exp(-((x - index % side) ** 2 + (y - index // side) ** 2).to(flat.dtype) / 50)
    weights = torch.softmax(flat * kernel * 100, 1)
    reach = side // 2
    return torch.cat([*((weights * (v - reach)).sum(1, keepdim=True) / reach for v in (x, y)), confidence], 1)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_shift(dtype: torch.dtype, memory: torch.memory_format) -> None:
    x = folded(16, dtype, memory)
    y = TemporalShift(S)(x)
    assert_same(y, slow_shift(x, S, 8), x)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    assert y.is_contiguous(memory_format=memory)
    assert grad.is_contiguous(memory_format=memory)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (2, 1), (1, S), (2, S)])
@pytest.mark.parametrize("count", [3, 5, 11])
def test_mix_of_neighbors(dtype: torch.dtype, memory: torch.memory_format, rows: int, steps: int, count: int) -> None:
    x = folded(6, dtype, memory)
    taps = torch.randn(count, rows, steps, 6, dtype=dtype, requires_grad=True)
    clips = x.unflatten(0, (-1, S))
    assert_same(mix_neighbors(clips, taps), slow_mix(clips, taps), x, taps)
    with torch.no_grad():
        assert torch.equal(mix_neighbors(clips, taps), mix_neighbors(clips.detach(), taps.detach()))


def test_gradients_of_gradients() -> None:
    x = torch.randn(1, 3, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    taps = torch.randn(3, 1, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(mix_neighbors, (x, taps))
    assert torch.autograd.gradgradcheck(TemporalShift(3, 2), x[0].detach().requires_grad_())
    assert torch.autograd.gradgradcheck(lambda x: frame_means(x, 3).square(), x[0].detach().requires_grad_())
    a, b = (torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradgradcheck(lambda a, b: local_correlation(a, b, 1), (a, b))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_frame_means(dtype: torch.dtype) -> None:
    x = folded(3, dtype)
    assert_same(frame_means(x, S), x.mean((2, 3)).unflatten(0, (-1, S)), x)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("reach", [1, 3])
def test_correlation(dtype: torch.dtype, memory: torch.memory_format, reach: int) -> None:
    a, b = folded(6, dtype, memory), folded(6, dtype, memory)
    got, want = local_correlation(a, b, reach), slow_correlation(a, b, reach)
    assert_same(got, want, a, b)
    with torch.no_grad():
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(local_correlation(a, b, reach), want, rtol=tolerance, atol=tolerance)
        one_sided = local_correlation(a[:1], b[:1], reach)  # a batch of one may have any stride
        torch.testing.assert_close(one_sided, want[:1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_displacements(dtype: torch.dtype) -> None:
    correlation = torch.rand(2, 5, 5, 4, 3, dtype=dtype).mul_(0.1).requires_grad_()
    assert_same(displacements(correlation), slow_displacements(correlation), correlation)


def slow_difference(module: TemporalDifference, x: Tensor) -> Tensor:
    now = module.squeeze_norm(module.squeeze(x)).unflatten(0, (-1, S))
    mapped = module.map(now.flatten(0, 1)).unflatten(0, (-1, S))
    zeros = torch.zeros_like(now[:, :1])
    gates = []
    for d in (
        torch.cat([mapped[:, 1:] - now[:, :-1], zeros], 1),
        torch.cat([zeros, mapped[:, :-1] - now[:, 1:]], 1),
    ):
        flat = d.flatten(0, 1)
        low = F.interpolate(module.pooled_norm(module.pooled(F.avg_pool2d(flat, 2))), flat.shape[-2:])
        scales = flat / 3 + low / 3 + module.full_norm(module.full(flat)) / 3
        gates.append(torch.sigmoid(module.expand_norm(module.expand(scales))) - 0.5)
    return x * (1 + (gates[0] + gates[1]) / 2)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("memory", FORMATS)
def test_difference(train: bool, memory: torch.memory_format) -> None:
    module = TemporalDifference(32, S).double().train(train)
    x = folded(32, memory=memory)
    for norm in (module.squeeze_norm, module.pooled_norm, module.full_norm, module.expand_norm):
        norm.momentum = 0.0  # the same statistics for both
    y = module(x)
    assert_same(y, slow_difference(module, x), x, *module.parameters())
    assert y.is_contiguous(memory_format=memory)


MAKERS = [
    lambda: TemporalShift(S),
    lambda: TemporalConv(16, S),
    lambda: TemporalAdaptive(16, S).eval(),
    lambda: TemporalDifference(16, S).eval(),
    lambda: MotionSqueeze(16, S, reach=1, squeezed=4).eval(),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_checkpointed_layer_has_the_same_gradients(make) -> None:
    module = make().double()
    x = folded(16)
    leaves = (x, *module.parameters())
    want = torch.autograd.grad(module(x).square().sum(), leaves)
    got = torch.autograd.grad(checkpoint(module, x, use_reentrant=False).square().sum(), leaves)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("make", MAKERS)
def test_half_precision_keeps_the_map_in_half(make) -> None:
    module = make()
    x = torch.randn(S, 16, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    want = module(x.float())
    torch.testing.assert_close(y.float(), want, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("make", MAKERS)
def test_exported_graphs_give_the_same(make) -> None:
    module = make()
    x = torch.randn(2 * S, 16, 4, 4)
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: S * batch},))
    for clips in (2, 3):
        x = torch.randn(clips * S, 16, 4, 4)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS)
def test_a_compiler_sees_one_graph_with_the_same_gradients(make) -> None:
    module = make().double()
    x = folded(16)
    leaves = (x, *module.parameters())
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    want, got = module(x), compiled(x)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(want)
    theirs, ours = (torch.autograd.grad(y, leaves, weights) for y in (want, got))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
