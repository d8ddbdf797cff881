"""Tests of one ARC convolution against the loop of equations 2 to 7 in float64."""

from itertools import product
from typing import Any

import pytest
import torch
from helpers import randomize
from reference_arc import reference_arc
from torch import Tensor, nn

from videozoo.augment import ARC, ArcConv2d
from videozoo.layers import TemporalShift
from videozoo.surgery import PreConv2d

SWITCHES = [dict(zip(("embedding", "attention", "fusion"), on, strict=True)) for on in product((True, False), repeat=3)]
SWITCHES = [row for row in SWITCHES if any(row.values())]
T = 3


def arc_conv(options: ARC, conv: nn.Conv2d | None = None, scale: float = 0.5) -> ArcConv2d:
    """A refined convolution in float64 whose updater is random."""
    conv = conv or nn.Conv2d(5, 11, 3, padding=1, bias=False)
    return randomize(ArcConv2d.from_layer(conv.double(), T, options), scale)  # type: ignore[return-value]


def slow(layer: ArcConv2d, x: Tensor, **kwargs: Any) -> Tensor:
    """The loop with the parameters of ``layer``."""
    own = dict(layer.named_parameters())
    options = layer.options
    gru = None
    if "gru.input.weight" in own:
        gru = nn.GRUCell(own["gru.input.weight"].shape[1], layer.in_channels).double()
        for name, key in (("ih", "input"), ("hh", "hidden")):
            # The very parameters, so that gradients flow to them.
            weight, bias = own[f"gru.{key}.weight"], own[f"gru.{key}.bias"]
            delattr(gru, f"weight_{name}")
            delattr(gru, f"bias_{name}")
            setattr(gru, f"weight_{name}", weight.flatten(1))
            setattr(gru, f"bias_{name}", bias)
    updater = {k: own[k] for k in ("embed", "fuse", "attend") if k in own}
    args = (T, options.num_steps, options.interaction, options.aggregation, gru)
    return reference_arc(x, layer, updater, *args, **kwargs)


def assert_equal_with_gradients(layer: ArcConv2d, x: Tensor) -> None:
    """Outputs, and gradients of the input and of every parameter, equal the loop's."""
    x = x.requires_grad_()
    fast, slowly = layer(x), slow(layer, x)
    torch.testing.assert_close(fast, slowly, rtol=0, atol=1e-11)
    over = [x, *layer.parameters()]
    up = torch.randn_like(fast)
    for a, b in zip(torch.autograd.grad(fast, over, up), torch.autograd.grad(slowly, over, up), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda row: "+".join(k for k, on in row.items() if on))
@pytest.mark.parametrize("interaction", ["additive", "multiplicative"])
@pytest.mark.parametrize("aggregation", ["S+T", "S", "T", "ST"])
@pytest.mark.parametrize("attention_layer", ["fc", "gru"])
def test_every_combination_of_options(
    switches: dict[str, bool], interaction: Any, aggregation: Any, attention_layer: Any
) -> None:
    if not switches["attention"] and (interaction, aggregation, attention_layer) != ("additive", "S+T", "fc"):
        pytest.skip("options of the attention, which is off")
    options = ARC(interaction=interaction, aggregation=aggregation, attention_layer=attention_layer, **switches)
    layer = arc_conv(options)
    parts = {k.partition(".")[0] for k, _ in layer.named_parameters()} - {"weight"}
    attends = {"attend" if attention_layer == "fc" else "gru"} if switches["attention"] else set()
    on = {name for name, key in (("embed", "embedding"), ("fuse", "fusion")) if switches[key]}
    assert parts == attends | on
    assert_equal_with_gradients(layer, torch.rand(2 * T, 5, 4, 5, dtype=torch.float64))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("out_channels", [5, 8, 11, 12])
@pytest.mark.parametrize("bias", [True, False])
def test_steps_and_uneven_parts(num_steps: int, out_channels: int, bias: bool) -> None:
    layer = arc_conv(ARC(num_steps=num_steps), nn.Conv2d(5, out_channels, 3, padding=1, bias=bias))
    assert_equal_with_gradients(layer, torch.rand(2 * T, 5, 4, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("kwargs", "size"),
    [
        ({"kernel_size": 3, "padding": 1, "stride": 2}, (7, 7)),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, (8, 5)),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, (1, 1)),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, (2, 1)),
        ({"kernel_size": 3, "padding": 0}, (6, 5)),
        ({"kernel_size": 3, "padding": 0}, (3, 3)),
        ({"kernel_size": (5, 1), "padding": (2, 0), "stride": (3, 1)}, (7, 4)),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, (6, 5)),
        ({"kernel_size": 7, "padding": 3, "stride": 4}, (9, 11)),
    ],
)
@pytest.mark.parametrize("interaction", ["additive", "multiplicative"])
def test_strides_and_sizes(kwargs: dict[str, Any], size: tuple[int, int], interaction: Any) -> None:
    for aggregation in ("S+T", "T", "S"):
        layer = arc_conv(ARC(interaction=interaction, aggregation=aggregation), nn.Conv2d(4, 8, **kwargs))  # type: ignore[arg-type]
        assert_equal_with_gradients(layer, torch.rand(2 * T, 4, *size, dtype=torch.float64))


def test_map_then_upsample_equals_upsample_then_map() -> None:
    layer = arc_conv(ARC(), nn.Conv2d(4, 8, 3, padding=1, stride=2))
    x = torch.rand(2 * T, 4, 9, 7, dtype=torch.float64)
    first, last = slow(layer, x, upsample_first=True), slow(layer, x, upsample_first=False)
    torch.testing.assert_close(first, last, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [ARC(), ARC(interaction="multiplicative"), ARC(attention_layer="gru", num_steps=1)])
def test_inputs_of_both_signs(options: ARC) -> None:
    layer = arc_conv(options)
    assert_equal_with_gradients(layer, torch.randn(2 * T, 5, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("interaction", ["additive", "multiplicative"])
@pytest.mark.parametrize("attention_layer", ["fc", "gru"])
@pytest.mark.parametrize("aggregation", ["S+T", "S", "T", "ST"])
@pytest.mark.parametrize("stride", [1, 2])
def test_starts_equal_to_the_convolution(interaction: Any, attention_layer: Any, aggregation: Any, stride: int) -> None:
    """Exactly, on whole numbers: sums of any order are exact there, so no machine may differ."""
    conv = nn.Conv2d(6, 12, 3, stride=stride, padding=1).double()
    with torch.no_grad():
        conv.weight.copy_(torch.randint(-9, 9, conv.weight.shape))
        conv.bias.copy_(torch.randint(-9, 9, conv.bias.shape))  # type: ignore[union-attr]
    options = ARC(interaction=interaction, attention_layer=attention_layer, aggregation=aggregation)
    x = torch.randint(-9, 9, (2 * T, 6, 7, 7)).double()
    layer = ArcConv2d.from_layer(conv, T, options)
    assert torch.equal(layer(x), conv(x))  # with a gradient
    with torch.no_grad():
        assert torch.equal(layer(x), conv(x))
        assert torch.equal(layer(x.abs()), conv(x.abs()))


def test_the_shift_before_the_convolution_runs_once() -> None:
    shift = TemporalShift(T, 4)
    conv = nn.Conv2d(8, 8, 3, padding=1).double()
    layer = arc_conv(ARC(), PreConv2d.from_conv(conv, shift))
    calls: list[int] = []
    shift.register_forward_hook(lambda *_: calls.append(1))
    x = torch.rand(2 * T, 8, 4, 4, dtype=torch.float64)
    y = layer(x)
    assert calls == [1]
    torch.testing.assert_close(y, slow(layer, TemporalShift(T, 4)(x)), rtol=0, atol=1e-12)


def test_clips_do_not_see_each_other_and_order_of_frames_does_not_matter() -> None:
    layer = arc_conv(ARC())
    x = torch.rand(2 * T, 5, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[T:], layer(x[T:]), rtol=0, atol=1e-12)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(layer(x[:T])[order], layer(x[:T][order]), rtol=0, atol=1e-12)


def test_parameters_are_shared_and_new_ones_have_dtype_and_device_of_the_weight() -> None:
    conv = nn.Conv2d(8, 8, 3).half()
    layer = ArcConv2d.from_layer(conv, T, ARC(attention_layer="gru"))
    assert layer.weight is conv.weight
    assert layer.bias is conv.bias
    assert {p.dtype for p in layer.parameters()} == {torch.float16}
    assert ArcConv2d.from_layer(nn.Conv2d(8, 8, 3, device="meta"), T, ARC()).fuse.device.type == "meta"  # type: ignore[union-attr]


def test_one_step_adds_nothing() -> None:
    conv = nn.Conv2d(5, 11, 3)
    layer = ArcConv2d.from_layer(conv, T, ARC(num_steps=1))
    assert set(dict(layer.named_parameters())) == {"weight", "bias"}


def test_last_output_group_feeds_no_other() -> None:
    """W_f,j and W_a,j exist for j = 1 .. n - 1 only."""
    layer = ArcConv2d.from_layer(nn.Conv2d(6, 8, 3, bias=False), T, ARC(num_steps=4))
    assert {k: tuple(p.shape[:2]) for k, p in layer.named_parameters()} == {
        "weight": (8, 6),
        "embed": (6, 6),
        "fuse": (6, 6),
        "attend": (6, 6),
    }


class _Other(nn.Conv2d):
    pass


@pytest.mark.parametrize(
    ("conv", "options", "message"),
    [
        (nn.Conv2d(8, 8, 3, groups=2), ARC(), "2 groups.*full connections"),
        (nn.Conv2d(8, 3, 3), ARC(), "3 output channels cannot be cut into num_steps=4"),
        (_Other(8, 8, 3), ARC(), "cannot refine a _Other"),
        (nn.Conv2d(8, 10, 3), ARC(attention_layer="gru"), "parts of one size"),
    ],
)
def test_unsupported_convolutions_are_refused(conv: nn.Conv2d, options: ARC, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArcConv2d.from_layer(conv, T, options)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0; need a whole number, 1 or more"),
        ({"num_steps": 2.5}, "num_steps is 2.5; need a whole number"),
        ({"stages": (0,)}, "a stage is 0; need a whole number, 1 or more"),
        ({"stages": (2.5,)}, "a stage is 2.5"),
        ({"stages": ()}, r"stages is \(\); pass a tuple of numbers from 1"),
        ({"stages": 2}, "stages is 2; pass a tuple"),
        ({"fusion": "no"}, "fusion is 'no'; need True or False"),
        ({"attention": False, "aggregation": "T"}, "aggregation is 'T', but has no effect with attention=False"),
        ({"attention": False, "interaction": "multiplicative"}, "has no effect with attention=False; leave it at 'add"),
        ({"attention": False, "attention_layer": "gru"}, "has no effect with attention=False; leave it at 'fc'"),
        ({"embedding": False, "attention": False, "fusion": False}, "all off"),
        ({"interaction": "add"}, "interaction is 'add'; choose one of additive, multiplicative"),
        ({"aggregation": "T+S"}, "aggregation is 'T\\+S'"),
        ({"attention_layer": "lstm"}, "attention_layer is 'lstm'"),
    ],
)
def test_senseless_options_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARC(**kwargs)


def test_a_wrong_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7, not a multiple of num_segments=3"):
        arc_conv(ARC())(torch.rand(7, 5, 4, 4).double())


def test_a_convolution_with_hooks_is_refused() -> None:
    conv = nn.Conv2d(8, 8, 3)
    conv.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="has hooks"):
        ArcConv2d.from_layer(conv, T, ARC())
