"""Tests of bLVNet-TAM: pairs of frames, the aggregation against a loop, costs, other depths, and refusals."""

from typing import Any

import pytest
import small_backbones  # noqa: F401  (registers them)
import timm
import torch
from helpers import clips, randomize
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TPN, TSN, BLVNetTAM, compose
from videozoo.data import resolve_data_config
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.layers import PairAggregation, TemporalAggregation


def slow_aggregation(x: Tensor, weight: Tensor) -> Tensor:
    """One frame after the other: x (B, S, C, H, W), weight (C, 1, 3)."""
    out = torch.zeros_like(x)
    for s in range(x.shape[1]):
        for k in (-1, 0, 1):
            if 0 <= s + k < x.shape[1]:
                out[:, s] += weight[:, 0, k + 1][:, None, None] * x[:, s + k]
    return out.clamp(min=0)


def test_aggregation_equals_a_loop() -> None:
    x, layer = torch.randn(2, 4, 6, 3, 3).double(), TemporalAggregation(6, 4).double()
    expected = slow_aggregation(x, layer.weight)
    torch.testing.assert_close(layer(x.flatten(0, 1)).unflatten(0, (2, 4)), expected)
    pairs = PairAggregation(6, 2, has_frames=True).double()
    pairs.load_state_dict(layer.state_dict())
    first, second = pairs(x.flatten(0, 1)).unbind(1)
    torch.testing.assert_close(first.unflatten(0, (2, 2)), expected[:, ::2])
    torch.testing.assert_close(second.unflatten(0, (2, 2)), expected[:, 1::2])
    one_row = PairAggregation(6, 2).double()
    one_row.load_state_dict(layer.state_dict())
    twice = x[:, ::2].repeat_interleave(2, 1)  # both frames of a pair have its map
    found = one_row(x[:, ::2].flatten(0, 1)).unflatten(0, (2, 2)).flatten(1, 2)
    torch.testing.assert_close(found, slow_aggregation(twice, layer.weight))


def net(parts: Any = (), **kwargs: Any) -> Any:
    options = {"num_classes": 5, "num_frames": 8, **kwargs}
    return randomize(compose("small_blresnet", BLVNetTAM(), parts, **options)).eval()


def test_branches_see_alternate_frames() -> None:
    model, seen = net(), {}
    model.backbone.b_conv0.register_forward_pre_hook(lambda _, args: seen.__setitem__("big", args[0].shape))
    model.backbone.l_conv0.register_forward_pre_hook(lambda _, args: seen.__setitem__("little", args[0].shape))
    with torch.no_grad():
        features = model.forward_features(clips(2, 8, 64))
    assert seen["big"][0] == seen["little"][0] == 2 * 4
    assert features.shape == (2, 512, 4, 2, 2)
    # without weights on neighbors, each stem branch sees its own frames alone
    for tam in (m for m in model.modules() if isinstance(m, TemporalAggregation)):
        nn.init.zeros_(tam.weight)
        nn.init.ones_(tam.weight[:, :, 1:2])
    x = clips(1, 8, 64)
    with torch.no_grad():
        first = model.forward_features(x)
        x[:, :, 6:] += 1
        other = model.forward_features(x)
    assert torch.equal(first[:, :, :3], other[:, :, :3])
    assert not torch.equal(first[:, :, 3], other[:, :, 3])


def test_frames_are_not_sampled_in_pairs() -> None:
    model = net()
    assert (model.frames_per_segment, model.num_segments) == (2, 4)
    config = resolve_data_config(model)
    assert (config["num_frames"], config["frames_per_segment"]) == (8, 1)


@pytest.mark.parametrize("parts", [(ARC(),), (DNR(),), (ARC(), DNR(), TPN())])
def test_augmenters_stand_on_it(parts: tuple[Any, ...]) -> None:
    model = net(parts)
    x = clips(2, 8, 64)
    with torch.no_grad():
        assert model(x).shape == (2, 5)
        torch.testing.assert_close(model(x)[1:], model(x[1:]), rtol=1e-3, atol=1e-3)


def test_sizes_of_the_registered_depths() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in videozoo.create_model("blvnet_tam_r50").parameters()) == 25_483_216
        big = videozoo.create_model("blvnet_tam_r101", num_frames=64)
        assert big(torch.zeros(1, 3, 64, 64, 64)).shape == (1, 400)


def test_image_network_and_its_names() -> None:
    """The names are those of IBM's ImageNet weights: shortcuts count their pooling."""
    with torch.device("meta"):
        image = timm.create_model("blresnet50", num_classes=1000)
        assert image(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)
        own = compose("blresnet50", TSN(), num_classes=5)
    keys = set(image.state_dict())
    for name in ("b_conv0", "bn_l2", "layer1.big.0.downsample.2", "layer1.little.0.downsample.0",
                 "layer3.little_e.0", "layer2.fusion.0.conv3", "layer4.0.downsample.1"):  # fmt: skip
        assert f"{name}.weight" in keys
    assert {key.removeprefix("backbone.") for key in own.state_dict() if key.startswith("backbone.")} == {
        key for key in keys if not key.startswith("fc.")
    }


def authors(model: Any) -> dict[str, Tensor]:
    state = {}
    for key, value in model.state_dict().items():
        name = key.replace("backbone.", "baseline_model.").replace("layer4_tam", "layer4.0.tam")
        name = name.replace("conv1.pre.", "tam.")
        if name.startswith("fc."):
            name = f"new_{name}"
        if ".tam." in name:
            for k, tap in enumerate(("prev", "curr", "next")):
                state[name.replace("tam.weight", f"tam.{tap}.weight")] = value[:, :, k, None, None]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize("depth", [50, 101])
def test_checkpoints_of_every_depth_convert(depth: int) -> None:
    with torch.device("meta"):
        model = compose(f"blresnet{depth}", BLVNetTAM(), num_classes=174, num_frames=16)
    state = authors(model)
    converted, source = convert_checkpoint(state)
    assert source == "blvnet"
    assert videozoo.ModelSpec.from_dict(converted.spec) == model.spec
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in converted.state.items()} == shapes
    del state["baseline_model.layer2.tam.curr.weight"]
    with pytest.raises(ConvertError, match=r"baseline_model\.layer2\.tam has not the weights prev, curr, next"):
        convert_checkpoint(state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compose("resnet18", BLVNetTAM()), "needs a Big-Little ResNet.*not ResNet; use backbone='blresnet50'"),
        (lambda: net(num_frames=7), "num_frames is 7; need a positive multiple of 2"),
        (lambda: net().set_num_frames(3), "num_frames is 3; need a positive multiple of 2"),
        (lambda: net().streaming(), "bLVNet-TAM mixes each frame with the one after it"),
        (lambda: BLVNetTAM().apply(net().backbone, 4), "the model was changed before; apply it first"),
    ],
)
def test_refusals_say_what_to_do(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
