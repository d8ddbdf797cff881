"""Tests of MoViNet: TensorFlow's padding and pooling, sizes of the family, files of both kinds, parts on top."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips
from timm.layers.padding import pad_same
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM, compose
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.nets.movinet import _SamePad, _SamePool
from videozoo.report import count_cost

SIZES = [(4, 4), (5, 5), (1, 6), (7, 10)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflows(kernel: int, size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, 3, *size)
    want = pad_same(x[0], [kernel, kernel], [2, 2])[None]
    assert torch.equal(_SamePad(kernel)(x), want)


@pytest.mark.parametrize("size", SIZES)
def test_pool_does_not_count_the_padding(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, 3, *size, dtype=torch.float64)
    windows = pad_same(x[0], [3, 3], [2, 2], value=torch.nan).unfold(2, 3, 2).unfold(3, 3, 2)
    torch.testing.assert_close(_SamePool()(x), windows.nanmean((-1, -2))[None])


def test_pool_equals_the_port_on_square_maps() -> None:
    """The port pads even maps with zeros at the end and scales the last row and column."""
    x = torch.randn(1, 2, 3, 6, 6)
    want = F.avg_pool3d(F.pad(x, (0, 1, 0, 1)), (1, 3, 3), (1, 2, 2))
    want[..., -1] *= 9 / 6
    want[..., -1, :] *= 9 / 6
    torch.testing.assert_close(_SamePool()(x), want)


# Millions of parameters and GMACs of a clip of 50 frames with 600 classes, measured on the port.
FAMILY = {"a0": (3.11, 172, 2.76), "a1": (4.69, 172, 6.10), "a2": (5.25, 224, 12.02)}


@pytest.mark.parametrize("name", FAMILY)
def test_parameters_and_macs(name: str) -> None:
    millions, size, gmacs = FAMILY[name]
    with torch.device("meta"):
        model = videozoo.create_model(f"movinet_{name}", num_classes=600)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions
    model.set_num_frames(5)  # every operation but the classifier's runs once a frame
    assert 10 * count_cost(model, (3, size, size)).gmacs == pytest.approx(gmacs, abs=0.05)


@pytest.mark.parametrize("name", ["a3", "a4", "a5"])
def test_larger_models_build(name: str) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(f"movinet_{name}", num_classes=600, num_frames=2)
        assert model(torch.zeros(1, 3, 2, 64, 64)).shape == (1, 600)


def ports_state(model: Any) -> dict[str, Tensor]:
    """The state dict under the port's names, written from that code's side."""
    is_causal = model.backbone.is_causal
    conv = "conv2d" if is_causal else "conv3d"
    names = {"expand": "expand", "depthwise": "deep", "project": "project"}
    state = {}
    for key, value in model.state_dict().items():
        name = key.removeprefix("backbone.")
        name = re.sub(r"^layer(\d)\.(\d+)", lambda m: f"blocks.b{int(m[1]) - 1}_l{m[2]}", name)
        name = re.sub(r"^stem", "conv1.conv_1", re.sub(r"^head", "conv7.conv_1", name))
        name = re.sub(r"\.(expand|depthwise|project)\.", lambda m: f".{names[m[1]]}.conv_1.", name)
        name = re.sub(r"\.temporal\.", ".deep.conv_2.", name)
        if ".shortcut." in name:
            has_pool = not key.startswith("backbone.layer4.")
            name = name.replace(".shortcut.", f".res.{int(has_pool)}.conv_1.")
        name = re.sub(r"(se\.fc[12])\.", rf"\1.conv_1.{conv}.", name)
        name = re.sub(r"\.conv\.", f".{conv}.", name).replace(".bn.", ".norm.")
        name = re.sub(r"^pooled\.", f"classifier.0.conv_1.{conv}.", name)
        name = re.sub(r"^fc\.", f"classifier.3.conv_1.{conv}.", name)
        if value.ndim == 2:
            value = value[..., None, None] if is_causal else value[..., None, None, None]
        elif value.ndim == 5 and is_causal:
            value = value[..., 0] if ".conv_2." in name else value[:, :, 0]
        state[name] = value
    return state


@pytest.mark.parametrize("name", ["a0", "a1", "a3", "a0_stream", "a2_stream"])
def test_files_of_both_kinds_convert(name: str) -> None:
    model: Any = videozoo.create_model(f"movinet_{name}", num_classes=7)
    converted, source = convert_checkpoint(ports_state(model))
    assert (source, converted.spec["backbone"]) == ("movinet", model.spec.backbone)
    assert (converted.spec["num_classes"], converted.spec["num_frames"]) == (7, 50)
    size = FAMILY.get(name[:2], (0, 256))[1]
    assert converted.cfg == {"mean": (0.0,) * 3, "std": (1.0,) * 3, "input_size": (3, size, size)}
    own = model.state_dict()
    assert set(converted.state) == set(own)
    assert all(torch.equal(converted.state[key], own[key]) for key in own)


def test_other_networks_of_the_port_are_refused() -> None:
    state = ports_state(videozoo.create_model("movinet_a0", num_classes=7))
    with pytest.raises(ConvertError, match="A0 to A5: its last convolution"):
        convert_checkpoint({**state, "conv7.conv_1.conv3d.weight": torch.zeros(500, 104, 1, 1, 1)})
    gate = "blocks.b0_l0.se.fc1.conv_1.conv3d.weight"
    with pytest.raises(ConvertError, match="with conv_type '2plus1d' and others"):
        convert_checkpoint({**state, gate: torch.zeros(16, 48, 1, 1, 1)})


@pytest.mark.parametrize("kind", ["base", "causal"])
def test_parts_on_top(kind: str) -> None:
    backbone = f"movinet_a0_{kind}"
    with pytest.raises(ValueError, match=r"which ARC cannot refine"):
        compose(backbone, augmenters=[ARC(layers=("conv2d", "conv3d"))])
    with pytest.raises(ValueError, match="is a 3-D model and mixes time itself"):
        compose(backbone, TSM())
    for part in (ARC(layers=("pointwise",)), DNR()):
        model = compose(backbone, augmenters=[part], num_classes=5, num_frames=3).eval()
        assert model(clips(1, 3, 40)).shape == (1, 5)


def test_branches_start_at_zero() -> None:
    model = compose("movinet_a0_base", num_classes=5, num_frames=2)
    alphas: list[Tensor] = [p for name, p in model.named_parameters() if name.endswith("alpha")]
    assert len(alphas) == 15
    assert not torch.stack(alphas).any()
