"""Tests of the matrix products of an ARC convolution and of its gradients and memory."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import randomize
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from videozoo.augment import ARC, ArcConv2d
from videozoo.augment.arc_layers import ArcConv3d

T = 3
# Stride and size: sizes that divide and that do not, and one position of output.
LAYERS = [(1, (6, 6)), (2, (6, 6)), (2, (7, 5)), (3, (7, 8)), (2, (2, 2))]


def arc_conv(options: ARC | None = None, stride: int = 1, bias: bool = True) -> ArcConv2d:
    """A refined convolution in float64 whose updater is random."""
    conv = nn.Conv2d(4, 9, 3, stride, 1, bias=bias).double()
    return randomize(ArcConv2d.from_layer(conv, T, options or ARC()), 0.5)  # type: ignore[return-value]


def plain(layer: ArcConv2d) -> ArcConv2d:
    """The same layer, by the plain operations that compilers see."""
    twin = ArcConv2d.from_layer(nn.Conv2d(1, 4, 1), T, layer.options)
    twin.__dict__.update(layer.__dict__)
    object.__setattr__(twin, "_are_products_possible", lambda: False)
    return twin


def gradients(layer: Any, x: Tensor, up: Tensor) -> list[Tensor]:
    """The output, and gradients of the input and of every parameter."""
    x = x.detach().requires_grad_()
    out = layer(x)
    return [out.detach(), *torch.autograd.grad(out, [x, *layer.parameters()], up.to(out.dtype))]


@pytest.mark.parametrize(("stride", "size"), LAYERS)
@pytest.mark.parametrize("aggregation", ["S+T", "ST"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_custom_gradients_equal_plain_operations(
    stride: int, size: tuple[int, int], aggregation: Any, channels_last: bool
) -> None:
    layer = arc_conv(ARC(aggregation=aggregation), stride)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(2 * T, 4, *size).double().to(memory_format=memory_format)
    with torch.no_grad():
        out, wanted = layer(x), plain(layer)(x)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-11)
    assert out.is_contiguous(memory_format=memory_format) == wanted.is_contiguous(memory_format=memory_format)
    up = torch.randn_like(out)
    for a, b in zip(gradients(layer, x, up), gradients(plain(layer), x, up), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_contiguous_maps_need_no_product_per_image() -> None:
    layer = arc_conv(stride=2).float()
    with torch.profiler.profile() as profile:
        layer(torch.randn(2 * T, 4, 6, 6, requires_grad=True)).sum().backward()
    names = {event.name for event in profile.events()}
    assert "aten::addmm" in names
    assert "aten::bmm" not in names


def test_half_precision_keeps_small_states_beside_large_inputs() -> None:
    layer = arc_conv(ARC(attention=False)).bfloat16()
    with torch.no_grad():
        layer.weight.mul_(1e-3)
        layer.embed.copy_(-torch.eye(4)[..., None, None])  # type: ignore[union-attr]
    x = -torch.randint(1000, 2000, (2 * T, 4, 6, 6)).bfloat16()
    torch.testing.assert_close(plain(layer)(x), layer(x), rtol=0, atol=2e-4)  # of 0.15
    x[0, 0, 0, 0] = torch.nan
    assert torch.equal(plain(layer)(x).isnan(), layer(x).isnan())


def test_tracing_does_not_depend_on_values() -> None:
    layer, x = arc_conv(), torch.randn(2 * T, 4, 6, 6).double()
    with torch.no_grad():
        traced = make_fx(layer)(x.abs())
        torch.testing.assert_close(traced(x), layer(x), rtol=0, atol=1e-11)


def test_in_single_precision() -> None:
    layer = arc_conv(stride=2).float().to(memory_format=torch.channels_last)
    x = torch.randn(2 * T, 4, 8, 8)
    up = torch.randn(2 * T, 9, 4, 4)
    for a, b in zip(gradients(layer, x, up), gradients(layer.double(), x.double(), up.double()), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


def test_equal_maxima_share_the_gradient() -> None:
    layer = arc_conv(bias=False)
    frame = torch.randn(1, 4, 6, 6).double()
    still = frame.expand(T, -1, -1, -1).contiguous()  # every maximum over time is reached T times
    still[..., :3] = 0  # and zeros tie in space
    up = torch.randn(T, 9, 6, 6).double()
    for a, b in zip(gradients(layer, still, up), gradients(plain(layer), still, up), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_gradcheck() -> None:
    layer = arc_conv(stride=2)
    assert torch.autograd.gradcheck(layer, torch.randn(T, 4, 5, 5).double().requires_grad_())


def test_frozen_parameters_and_inputs_without_gradient() -> None:
    layer = arc_conv()
    x, up = torch.randn(T, 4, 6, 6).double(), torch.randn(T, 9, 6, 6).double()
    wanted = dict(zip(["", "x", *dict(layer.named_parameters())], gradients(layer, x, up), strict=True))
    layer.weight.requires_grad_(False)
    layer.fuse.requires_grad_(False)
    layer(x).backward(up)
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, wanted[name])
        else:
            assert parameter.grad is None
    x.requires_grad_()
    layer.requires_grad_(False)(x).backward(up)
    torch.testing.assert_close(x.grad, wanted["x"])


@pytest.mark.parametrize("options", [{}, {"embedding": False}])
def test_input_without_gradient(options: dict[str, Any]) -> None:
    layer = arc_conv(ARC(**options))
    x, up = torch.randn(T, 4, 6, 6).double(), torch.randn(T, 9, 6, 6).double()
    wanted = gradients(layer, x, up)[2:]
    got = torch.autograd.grad(layer(x), list(layer.parameters()), up)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_an_operation_in_place_behind_the_layer_does_no_harm() -> None:
    layer = arc_conv()
    x = torch.randn(T, 4, 6, 6).double()
    torch.relu_(layer(x)).sum().backward()
    grads = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    torch.relu(layer(x)).sum().backward()
    for a, b in zip(grads, [p.grad for p in layer.parameters()], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", [{}, {"fusion": False}, {"aggregation": "ST"}])
def test_second_derivatives_are_those_of_plain_operations(options: dict[str, Any]) -> None:
    layer = arc_conv(ARC(**options), stride=2)
    x = torch.randn(T, 4, 5, 5).double().requires_grad_()
    up = torch.randn(T, 9, 3, 3).double()
    results = []
    for module in (layer, plain(layer)):
        leaves = [x, *module.parameters()]
        first = torch.autograd.grad(module(x).square(), leaves, up, create_graph=True)
        results.append([*first, *torch.autograd.grad(sum(g.square().sum() for g in first), leaves)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_autocast_rounds_as_plain_operations_do() -> None:
    layer = arc_conv().float()
    x, up = torch.randn(2 * T, 4, 6, 6), torch.randn(2 * T, 9, 6, 6)
    exact = gradients(plain(layer), x, up)
    with torch.autocast("cpu", torch.bfloat16):
        low, plain_low = gradients(layer, x, up), gradients(plain(layer), x, up)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), low[0])
    assert low[0].dtype == torch.bfloat16
    assert [g.dtype for g in low[1:]] == [g.dtype for g in exact[1:]]
    for a, b, wanted in zip(low, plain_low, exact, strict=True):
        error, usual = ((v.float() - wanted).norm() / wanted.norm() for v in (a, b))
        assert error < max(0.05, 3 * usual)


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Bytes that autograd holds from a forward to its backward, parameters aside."""
    own = {p.data_ptr() for p in layer.parameters()}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(x).sum()
    return sum(kept.values())


@pytest.mark.parametrize("options", [{}, {"interaction": "multiplicative"}, {"aggregation": "T"}])
def test_recomputing_gives_the_same_and_keeps_the_input_alone(options: dict[str, Any]) -> None:
    layer = arc_conv(ARC(**options))
    x, up = torch.randn(2 * T, 4, 6, 6).double(), torch.randn(2 * T, 9, 6, 6).double()
    wanted, before = gradients(layer, x, up), kept_bytes(layer, x)
    layer.options = replace(layer.options, memory="recompute")
    for a, b in zip(gradients(layer, x, up), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert kept_bytes(layer, x) <= x.nbytes < before
    torch.testing.assert_close(torch.jit.trace(layer, x)(x), wanted[0])
    with torch.no_grad():
        torch.testing.assert_close(layer(x), wanted[0])


@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_compiled_in_one_graph(memory: Any) -> None:
    layer = arc_conv(ARC(memory=memory), stride=2)
    x = torch.randn(2 * T, 4, 6, 6).double()
    up = torch.randn(2 * T, 9, 3, 3).double()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for a, b in zip(gradients(compiled, x, up), gradients(layer, x, up), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"embedding": False},
        {"attention": False, "fusion": False},
        {"interaction": "multiplicative"},
        {"num_steps": 1},
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_folding_scales_and_shifts_the_output(options: dict[str, Any], bias: bool) -> None:
    layer = arc_conv(ARC(**options), stride=2, bias=bias)
    x = torch.randn(2 * T, 4, 6, 6).double()
    scale, shift = torch.randn(9).double(), torch.randn(9).double()
    shape = (1, 9, 1, 1)
    wanted = (layer(x) * scale.view(shape) + shift.view(shape)).detach()
    twice = x.clone().requires_grad_()
    (layer(twice) * scale.view(shape)).sum().backward()
    layer.fold(scale, shift)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-11)
    with_grad = x.clone().requires_grad_()  # a picture may ask for the gradient of the input
    layer(with_grad).sum().backward()
    torch.testing.assert_close(with_grad.grad, twice.grad, rtol=1e-10, atol=1e-10)


def test_folding_on_clips() -> None:
    layer = randomize(ArcConv3d.from_layer(nn.Conv3d(4, 9, 3, padding=1).double(), T, ARC()), 0.5)
    x = torch.randn(2, 4, T, 5, 5).double()
    scale, shift = torch.randn(9).double(), torch.randn(9).double()
    wanted = layer(x) * scale.view(1, 9, 1, 1, 1) + shift.view(1, 9, 1, 1, 1)
    layer.fold(scale, shift)  # type: ignore[operator]
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-11)
