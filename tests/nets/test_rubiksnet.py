"""Tests of RubiksNet: its shift against a loop over eight corners, tiers, and the quantized variant."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips
from torch import Tensor
from torch.func import functional_call, grad, vmap

import videozoo
from videozoo import ARC, DNR, compose
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.layers import rubiks_shift
from videozoo.layers.rubiks_shift import AttentionShift, RubiksShift


def slow_shift(x: Tensor, shift: Tensor, stride: int) -> Tensor:
    """Trilinear interpolation at shifted positions of (B, S, C, H, W), zeros outside."""
    sizes = (x.shape[1], x.shape[3], x.shape[4])
    out = x.new_zeros(*x.shape[:3], *(-(-size // stride) for size in sizes[1:]))
    for c, (t, h, w) in itertools.product(range(x.shape[2]), itertools.product(*map(range, _places(out)))):
        floor = shift[:, c].floor()
        for corner in itertools.product((0, 1), repeat=3):
            place = [a + int(b) + d for a, b, d in zip((t, h * stride, w * stride), floor, corner, strict=True)]
            weights = [r if d else 1 - r for r, d in zip(shift[:, c] - floor, corner, strict=True)]
            if all(0 <= a < size for a, size in zip(place, sizes, strict=True)):
                i, j, k = place
                out[:, t, c, h, w] += x[:, i, c, j, k] * torch.stack(weights).prod()
    return out


def _places(x: Tensor) -> tuple[int, int, int]:
    return x.shape[1], x.shape[3], x.shape[4]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("scale", [0.0, 0.9, 2.5, 6.0])
def test_shift_equals_the_loop_over_corners(scale: float, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 4, 3, 5, 4, dtype=torch.float64)
    layer = RubiksShift(3, 4, stride).double()
    layer.shift.data.uniform_(-scale, scale)
    want = slow_shift(x, layer.shift.detach(), stride)
    fast = layer(x.flatten(0, 1)).unflatten(0, (2, 4))
    monkeypatch.setattr(rubiks_shift, "_reach", lambda *_: None)  # as for compilers
    by_index = layer(x.flatten(0, 1)).unflatten(0, (2, 4))
    for got in (fast, by_index):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    if scale:
        grads = [torch.autograd.grad(y.square().sum(), layer.shift)[0] for y in (fast, by_index)]
        torch.testing.assert_close(*grads, rtol=0, atol=1e-10)
        lengths = grads[0].norm(dim=0)  # zero where the shift leaves the clip
        torch.testing.assert_close(lengths, (lengths > 0.5).double())
        assert scale > 5 or lengths.all()


def test_gradient_of_the_shift_is_the_derivative_divided_by_its_length() -> None:
    x = torch.randn(2, 4, 3, 5, 4, dtype=torch.float64)
    layer = RubiksShift(3, 4).double()
    layer(x.flatten(0, 1)).square().sum().backward()
    want = torch.zeros(3, 3, dtype=torch.float64)
    for i, c in itertools.product(range(3), range(3)):
        losses = []
        for step in (1e-6, -1e-6):
            moved = layer.shift.detach().clone()
            moved[i, c] += step
            losses.append(slow_shift(x, moved, 1).square().sum())
        want[i, c] = (losses[0] - losses[1]) / 2e-6
    assert layer.shift.grad is not None
    torch.testing.assert_close(layer.shift.grad, F.normalize(want, dim=0), rtol=1e-5, atol=1e-7)


def test_a_channel_without_gradient_stays() -> None:
    layer = RubiksShift(2, 3)
    layer(torch.zeros(3, 2, 4, 4)).sum().backward()
    assert layer.shift.grad is not None
    assert not layer.shift.grad.any()


def test_gradients_of_each_clip_and_of_a_compiled_layer() -> None:
    layer, x = RubiksShift(3, 4).double(), torch.randn(2, 4, 3, 5, 4, dtype=torch.float64)

    def loss(shift: Tensor, clip: Tensor) -> Tensor:
        out: Tensor = functional_call(layer, {"shift": shift}, (clip,))
        return out.square().sum()

    per_clip = vmap(grad(loss), in_dims=(None, 0))(layer.shift.detach(), x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for b in range(2):
        want = torch.autograd.grad(layer(x[b]).square().sum(), layer.shift)[0]
        torch.testing.assert_close(per_clip[b], want)
        torch.testing.assert_close(torch.autograd.grad(compiled(x[b]).square().sum(), layer.shift)[0], want)


def test_attention_shift_is_a_convolution_over_time() -> None:
    layer, x = AttentionShift(3, 4), torch.randn(8, 3, 2, 2)
    kernel = (layer.weight / (layer.weight.std(1, keepdim=True) + 1e-6) / 2).softmax(1)
    signal = x.unflatten(0, (2, 4)).permute(0, 3, 4, 2, 1).flatten(0, 2)
    want = F.conv1d(signal, kernel[:, None], padding=1, groups=3).unflatten(0, (2, 2, 2)).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(layer(x), want.flatten(0, 1))


MILLIONS = {"tiny": 1.9, "small": 3.6, "medium": 6.2, "large": 8.5}  # as the authors print them


@pytest.mark.parametrize("tier", MILLIONS)
def test_parameters_of_the_tiers(tier: str) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(f"rubiksnet_{tier}", num_classes=174)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == MILLIONS[tier]


def authors_state(model: Any) -> dict[str, Tensor]:
    """The state dict under the authors' names, written from that code's side."""
    state = {}
    has_attention = "backbone.layer0.0.mix.weight" in model.state_dict()
    parts = {
        ".conv1.": ".conv2.1." if has_attention else ".conv2.",
        ".conv2.": ".conv3.",
        ".mix.weight": ".conv2.0.weight",
        ".mix.temperature": ".conv2.0.T",
        ".shift.": ".as3." if has_attention else ".as3.rubiks3d.",
        ".se.fc1.": ".se.fc.0.",
        ".se.fc2.": ".se.fc.2.",
    }
    for key, value in model.state_dict().items():
        name = key.replace("fc.", "new_fc.", 1) if key.startswith("fc.") else key.replace(".norm.", ".bn_last.")
        part = next((part for part in parts if part in name), None) if "layer" in name else None
        is_linear = part in (".se.fc1.", ".se.fc2.")
        state[name.replace(part, parts[part]) if part else name] = value[:, :, 0, 0] if is_linear else value
    return state


@pytest.mark.parametrize("tier", ["tiny", "small", "large_aq"])
def test_authors_files_of_every_kind_convert(tier: str) -> None:
    model = videozoo.create_model(f"rubiksnet_{tier}", num_classes=5)
    converted, source = convert_checkpoint(authors_state(model))
    assert (source, converted.spec["backbone"], converted.spec["num_classes"]) == ("rubiksnet", f"rubiks_{tier}", 5)
    own = model.state_dict()
    assert set(converted.state) == set(own)
    assert all(torch.equal(converted.state[key], own[key]) for key in own)


def test_another_width_is_no_model_of_the_authors() -> None:
    state = authors_state(videozoo.create_model("rubiksnet_tiny", num_classes=5))
    state["backbone.conv1.weight"] = torch.zeros(60, 3, 3, 3)
    with pytest.raises(ConvertError, match="width 60 and 6 blocks in stage 3"):
        convert_checkpoint(state)


def test_parts_on_top() -> None:
    with pytest.raises(ValueError, match=r"1x1 .* which ARC cannot refine"):
        compose("rubiks_tiny", augmenters=[ARC()])
    for part in (ARC(layers=("pointwise",)), DNR()):
        model = compose("rubiks_tiny", augmenters=[part], num_classes=5, num_frames=2).eval()
        assert model(clips(1, 2, 32)).shape == (1, 5)


def test_streams_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be causal: RubiksShift sees whole clips"):
        compose("rubiks_tiny", num_classes=5).streaming()
