"""Tests of the fused standardize-and-scale function against its steps."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import randomize
from torch import Tensor, nn

from videozoo.augment import CrossTemporalNorm2d, CrossTemporalNorm3d, dynamic_norm
from videozoo.augment.standardize import rows_to_frames, standardize_and_scale
from videozoo.layers import RelayCell
from videozoo.shapes import to_clips

B, C = 2, 6


def inputs(frames: int, row_frames: int, dtype: torch.dtype, offset: float = 0.0) -> list[Tensor]:
    """Maps and the two pairs."""
    torch.manual_seed(frames)
    rows = -(-frames // row_frames)
    x = torch.randn(B * frames, C, 5, 4, dtype=torch.float64) + offset + torch.randn(C, 1, 1, dtype=torch.float64)
    return [x.to(dtype), *torch.randn(2, B, rows, C, dtype=torch.float64).to(dtype)]


def step_by_step(
    x: Tensor, gamma: Tensor, beta: Tensor, row_frames: int, frames: int, *statistics: Any, norm: Any = F.batch_norm
) -> Tensor:
    """The plain way: standardize, one product, one sum."""
    mean, var, momentum, eps = statistics
    x = norm(x, mean, var, training=True, momentum=momentum, eps=eps)
    gamma, beta = (rows_to_frames(v, row_frames, frames).flatten(0, 1)[:, :, None, None] for v in (gamma, beta))
    return x * gamma + beta


def run(function: Any, given: list[Tensor], row_frames: int, frames: int) -> list[Tensor]:
    """Output, gradients and running statistics."""
    leaves = [v.clone(memory_format=torch.preserve_format).requires_grad_() for v in given]
    mean, var = torch.linspace(-1, 1, C).to(leaves[0]), torch.linspace(1, 2, C).to(leaves[0])
    out = function(*leaves, row_frames, frames, mean, var, 0.3, 1e-5)
    up = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out)
    return [out, *torch.autograd.grad(out, leaves, up), mean, var]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("frames", "row_frames"), [(8, 4), (8, 8), (5, 2), (7, 4), (3, 4), (4, 1), (1, 1)])
def test_equals_the_steps(frames: int, row_frames: int, layout: Any, dtype: torch.dtype, tolerance: float) -> None:
    given = inputs(frames, row_frames, dtype)
    given[0] = given[0].to(memory_format=layout)
    got = run(standardize_and_scale, given, row_frames, frames)
    exact = run(step_by_step, [v.double() for v in given], row_frames, frames)
    for a, b in zip(got, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance)
    assert got[0].is_contiguous(memory_format=layout)
    assert got[1].is_contiguous(memory_format=layout)


def test_nothing_cancels_where_the_mean_is_a_hundred_deviations() -> None:
    given = inputs(8, 4, torch.float32, offset=100.0)
    got, plain = (run(function, given, 4, 8) for function in (standardize_and_scale, step_by_step))
    exact = run(step_by_step, [v.double() for v in given], 4, 8)
    for a, b, c in zip(got, plain, exact, strict=True):
        scale = c.abs().max()
        assert (a - c).abs().max() < 1e-5 * scale
        assert (a - b).abs().max() < 1e-5 * scale


@pytest.mark.parametrize("row_frames", [1, 2, 3])
def test_gradcheck(row_frames: int) -> None:
    x, gamma, beta = (v.requires_grad_() for v in inputs(3, row_frames, torch.float64))

    def function(*args: Tensor) -> Tensor:
        return standardize_and_scale(*args, row_frames, 3, torch.zeros(C).double(), torch.ones(C).double(), 0.1, 1e-5)

    assert torch.autograd.gradcheck(function, (x[..., :2, :2], gamma, beta), fast_mode=True)


def test_gradients_in_another_layout() -> None:
    """What comes back may lie otherwise than the maps, or be one value for all."""
    given = [v.requires_grad_() for v in inputs(4, 2, torch.float64)]
    moving = (torch.zeros(C).double(), torch.ones(C).double(), 0.1, 1e-5)
    weight = torch.randn(B * 4, C, 5, 4).double().to(memory_format=torch.channels_last)
    for up in (weight, weight[:, :, :1, :1].expand(-1, -1, 5, 4)):
        got = torch.autograd.grad(standardize_and_scale(*given, 2, 4, *moving), given, up)
        for a, b in zip(got, torch.autograd.grad(step_by_step(*given, 2, 4, *moving), given, up), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def make(is_3d: bool = False, **options: Any) -> CrossTemporalNorm2d:
    """A float32 norm in training."""
    kind, source = (CrossTemporalNorm3d, nn.BatchNorm3d) if is_3d else (CrossTemporalNorm2d, nn.BatchNorm2d)
    options = {"backward_cell": RelayCell(C)} | options if options.pop("bidirectional", False) else options
    return randomize(kind(source(C), 6, RelayCell(C), 4, **options), 0.4).train()  # type: ignore[return-value]


def maps(is_3d: bool, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(3)
    x = torch.randn(B * 6, C, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
    return to_clips(x, 6) if is_3d else x


@pytest.mark.parametrize("is_3d", [False, True])
@pytest.mark.parametrize("options", [{}, {"keep_affine": True}, {"bidirectional": True}])
def test_a_norm_is_the_same_with_it_and_without(is_3d: bool, options: dict[str, Any], monkeypatch: Any) -> None:
    calls: list[int] = []

    def counted(*args: Any) -> Tensor:
        calls.append(1)
        return standardize_and_scale(*args)

    monkeypatch.setattr(dynamic_norm, "standardize_and_scale", counted)
    norm = make(is_3d, **options)
    other = copy.deepcopy(norm)
    other.batch_norm_function = lambda *args, **kwargs: F.batch_norm(*args, **kwargs)  # type: ignore[method-assign]
    results = []
    for module in (norm, other):
        x = maps(is_3d).requires_grad_()
        y = module(module(x))  # twice in one graph
        y.square().mean().backward()
        results.append([y, x.grad, *(p.grad for p in module.parameters()), *module.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert len(calls) == 2
    assert norm.num_batches_tracked == 2


@pytest.mark.parametrize("is_3d", [False, True])
def test_where_it_has_no_place_the_steps_are_taken(is_3d: bool, monkeypatch: Any) -> None:
    """Autocast, evaluation, statistics of groups, contiguous clips and compiled graphs."""
    monkeypatch.setattr(dynamic_norm, "standardize_and_scale", None)
    with torch.autocast("cpu", torch.bfloat16):
        low = make(is_3d)(maps(is_3d, torch.bfloat16))
    assert low.dtype == torch.bfloat16
    make(is_3d).eval()(maps(is_3d))
    make(is_3d, statistics="group")(maps(is_3d))
    if is_3d:
        make(is_3d)(maps(is_3d).contiguous())
    torch._dynamo.reset()
    torch.compile(make(is_3d), fullgraph=True, backend="eager")(maps(is_3d))
    with pytest.raises(TypeError, match="not callable"):
        make(is_3d)(maps(is_3d))


def test_a_compiled_norm_has_the_same_gradients() -> None:
    norm = make()
    compiled = copy.deepcopy(norm)
    torch._dynamo.reset()
    for module, call in ((norm, norm), (compiled, torch.compile(compiled, fullgraph=True, backend="aot_eager"))):
        call(maps(False)).square().mean().backward()
        assert all(p.grad is not None for p in module.parameters())
    for (name, a), b in zip(norm.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    for a, b in zip(norm.buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_one_map_is_kept_for_the_backward_pass() -> None:
    kept: list[Tensor] = []
    x, gamma, beta = (v.requires_grad_() for v in inputs(4, 2, torch.float32))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        standardize_and_scale(x, gamma, beta, 2, 4, torch.zeros(C), torch.ones(C), 0.1, 1e-5)
    assert [t.shape for t in kept if t.ndim == 4] == [x.shape]


def test_a_single_value_per_channel_is_refused_as_by_a_batch_norm() -> None:
    norm = CrossTemporalNorm2d(nn.BatchNorm2d(C), 1, RelayCell(C), 1).train()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        norm(torch.randn(1, C, 1, 1))


def test_second_derivatives() -> None:
    leaves = tuple(v.requires_grad_() for v in inputs(3, 2, torch.float64))
    moving = (torch.zeros(C).double(), torch.ones(C).double())

    def function(*args: Tensor) -> Tensor:
        return standardize_and_scale(*args, 2, 3, *moving, 0.1, 1e-5)

    assert torch.autograd.gradgradcheck(function, (leaves[0][..., :2, :1], *leaves[1:]), fast_mode=True)
    moved = [v.clone() for v in moving]
    (of_x,) = torch.autograd.grad(function(*leaves).sum(), leaves[0], create_graph=True)
    once = [
        0.9 * v + 0.1 * s for v, s in zip(moved, (leaves[0].mean((0, 2, 3)), leaves[0].var((0, 2, 3))), strict=True)
    ]
    of_x.square().sum().backward()
    for a, b in zip(moving, once, strict=True):
        torch.testing.assert_close(a, b)  # the running statistics have moved once
