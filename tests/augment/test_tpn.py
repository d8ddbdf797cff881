"""Tests of TPN: its neck against the steps of the paper, its options, its auxiliary head, and its refusals."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import small_backbones  # noqa: F401  (registers them)
import torch
import torch.nn.functional as F
from helpers import clips, randomize, slow_shift
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TPN, TRN, TSM, TSN, compose
from videozoo.hub.write import save_weights
from videozoo.layers import TemporalPyramid
from videozoo.models import ModelSpec, VideoNet


def tpn(backbone: str = "small_bottleneck", temporal: Any = TSN(), parts: Any = (TPN(),), **kwargs: Any) -> VideoNet:  # noqa: B008
    options = {"num_classes": 6, "num_frames": 4, **kwargs}
    return randomize(compose(backbone, temporal, parts, **options)).eval()  # type: ignore[return-value]


def conv_norm(part: Any, x: Tensor) -> Tensor:
    conv, norm, _ = part
    y = F.conv3d(x, conv.weight, None, conv.stride, conv.padding, 1, conv.groups)
    y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)
    return y.clamp(min=0)


def slow_pyramid(neck: TemporalPyramid, shallow: Tensor, deep: Tensor, is_cascade: bool, steps: int) -> Tensor:
    """The pyramid, step by step; pooling over time by torch's max pooling."""
    frames = shallow.shape[2]
    levels = [conv_norm(neck.spatial, shallow), deep]
    groups = neck.temporal[0].groups
    levels = [F.conv3d(x, neck.temporal[i].weight, None, 1, (1, 0, 0), 1, groups) for i, x in enumerate(levels)]
    levels = [F.max_pool3d(x, (frames // k, 1, 1)) for x, k in zip(levels, (steps, 1), strict=True)]
    unchanged = list(levels)

    def fused(part: Any, pair: list[Tensor]) -> Tensor:
        low = F.max_pool3d(pair[0], (steps, 1, 1))
        return conv_norm(part.fuse, torch.cat([conv_norm(part.levels[0], low), conv_norm(part.levels[1], pair[1])], 1))

    levels[0] = levels[0] + levels[1].expand_as(levels[0])
    top_down = fused(neck.top_down, levels)
    levels = levels if is_cascade else unchanged
    lowered = F.max_pool3d(F.conv3d(levels[0], neck.downsample.weight, padding=(1, 0, 0)), (steps, 1, 1))
    bottom_up = fused(neck.bottom_up, [levels[0], levels[1] + lowered])
    return conv_norm(neck.fuse, torch.cat([top_down, bottom_up], 1))


@pytest.mark.parametrize("flow", ["cascade", "parallel"])
@pytest.mark.parametrize("steps", [1, 2])
def test_neck_equals_the_steps_of_the_paper(flow: str, steps: int) -> None:
    neck = randomize(TemporalPyramid((32, 64), 4, flow, steps)).double().eval()
    shallow, deep = torch.randn(2, 32, 4, 6, 6).double(), torch.randn(2, 64, 4, 3, 3).double()
    with torch.no_grad():
        expected = slow_pyramid(neck, shallow, deep, flow == "cascade", steps)  # type: ignore[arg-type]
        found = neck(shallow, deep)
    assert found.shape == (2, 64, 1, 3, 3)
    torch.testing.assert_close(found, expected)


def test_sizes_of_the_authors_models() -> None:
    """The neck has 39.3 M parameters on a ResNet-50, the auxiliary head 19.2 M with 174 classes."""
    with torch.device("meta"):
        for name, classes, total, aux in (("tpn_tsm_r50", 174, 82_445_724, 19_234_990),
                                          ("tpn_slowonly_r50", 400, 91_498_336, None)):  # fmt: skip
            net = videozoo.create_model(name, num_classes=classes)
            assert sum(p.numel() for p in net.parameters()) == total
            assert aux in (None, sum(p.numel() for p in net.aux_head.parameters()))
        bare = videozoo.compose("resnet50", TSM(), [TPN(aux_weight=0)])
    assert bare.aux_head is None
    assert bare.aux_weight == 0


@pytest.mark.parametrize("part", [TPN(flow="parallel"), TPN(shallow_steps=2)])
def test_every_option_changes_the_answer(part: TPN) -> None:
    one, other = tpn(), tpn(parts=[part])
    other.load_state_dict(one.state_dict())
    x = clips(2, 4, 40)
    with torch.no_grad():
        assert (one(x) - other(x)).abs().max() > 1e-3 * one(x).abs().max()


def test_plain_calls_give_logits_and_the_opt_in_a_pair() -> None:
    net, x = tpn(drop_rate=0.5), clips(2, 4, 40)
    for model in (net, copy.deepcopy(net).train()):
        assert isinstance(model(x), Tensor)
        logits, aux = model(x, with_aux=True)
        assert logits.shape == aux.shape == (2, 6)
    with torch.no_grad():
        logits, aux = net(x, with_aux=True)
        assert torch.equal(logits, net(x))
        shallow = net.forward_intermediates(x, intermediates_only=True)[3]
        torch.testing.assert_close(aux, net.aux_head(shallow))
    model = copy.deepcopy(net).train()
    model(x).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == {
        name for name, _ in model.named_parameters() if name.startswith("aux_head.")
    }
    with pytest.raises(ValueError, match="with_aux=True, but TSM on small_bottleneck has no auxiliary head; TPN has"):
        tpn(temporal=TSM(), parts=[])(x, with_aux=True)


def test_auxiliary_classifier_follows_the_classes() -> None:
    net, x = tpn(), clips(1, 4, 40)
    trunk = net.aux_head.conv[0].weight
    net.reset_classifier(9)
    assert net.aux_head.conv[0].weight is trunk
    assert [y.shape[1] for y in net(x, with_aux=True)] == [9, 9]
    net.reset_classifier(0)
    assert isinstance(net.aux_head.fc, nn.Identity)
    assert net.double()(x.double()).shape == (1, net.head_hidden_size)
    net.reset_classifier(3)
    assert net.aux_head.fc.weight.dtype == torch.float64


def test_weights_of_other_classes_leave_both_classifiers_new(tmp_path: Path) -> None:
    net = tpn("tiny_resnet")
    save_weights(net.state_dict(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(videozoo.model_config(net)))
    other = videozoo.create_model(tmp_path, pretrained=True, num_classes=3)
    assert other.aux_head.fc.weight.shape[0] == 3
    assert torch.equal(other.aux_head.conv[0].weight, net.aux_head.conv[0].weight)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [(ARC(), TPN()), (DNR(), TPN()), (TPN(), ARC()), (ARC(), DNR(), TPN())])
@pytest.mark.parametrize("backbone", ["small_bottleneck", "small_slowonly", "small_slowfast_basic", "bninception"])
def test_stands_on_augmented_backbones(backbone: str, parts: tuple[Any, ...]) -> None:
    if "slow" in backbone:
        parts = tuple(ARC(layers=("conv3d",)) if type(part) is ARC else part for part in parts)
    with torch.device("meta"):
        net = compose(backbone, augmenters=parts, num_classes=5, num_frames=16)
        assert net(torch.zeros(2, 3, 16, 64, 64)).shape == (2, 5)
        assert net.forward_features(torch.zeros(1, 3, 16, 64, 64)).shape[2] == 1
    assert not [name for name in net.sites.get("arc", ()) if name.startswith("neck.")]


def test_shapes_and_rows_of_the_stages_stay() -> None:
    plain, net = tpn(parts=[]), tpn()
    assert net.feature_info == plain.feature_info
    x = clips(2, 4, 40)
    with torch.no_grad():
        final, maps = net.forward_intermediates(x, indices=[0, 2])
        assert torch.equal(final, net.forward_features(x))
        assert [m.shape for m in maps] == [m.shape for m in plain.forward_intermediates(x)[1][::2]][:2]
        assert net.forward_head(final, pre_logits=True).shape == (2, net.head_hidden_size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TPN(flow="up"), "TPN: flow is 'up'; choose one of cascade, parallel"),  # type: ignore[arg-type]
        (lambda: TPN(shallow_steps=0), "TPN: shallow_steps is 0"),
        (lambda: TPN(aux_weight=-1.0), "TPN: aux_weight is -1.0; need a number, 0 or more"),
        (lambda: TPN(aux_weight=True), "TPN: aux_weight is True"),
        (lambda: tpn("mobilenetv2_035"), r"EfficientNet has layers behind its last stage \(112 to 1280 channels\)"),
        (lambda: tpn("resnet18", TRN()), "TRN classifies the features of every frame, and TPN leaves one"),
        (lambda: tpn(parts=[TPN(shallow_steps=8)]).set_num_frames(3), "needs 8 time steps or more, not"),
        (lambda: tpn().streaming(), r"TSN\+TPN on small_bottleneck cannot be causal: TPN takes a maximum over all"),
        (lambda: tpn("inception_v3")(clips(1, 4, 107)), "the last two feature maps are"),
    ],
)
def test_refusals_say_what_to_do(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_stored_spec_is_the_same_model() -> None:
    spec = ModelSpec("small_slowonly", augmenters=(TPN("parallel", 2, 0.25),))
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    assert spec.title == "TSN+TPN on small_slowonly"


def test_shift_on_the_shortcut_equals_a_shifted_block_input() -> None:
    """With ``shift_shortcut`` the first block of a stage computes on shifted frames altogether."""
    plain, net = tpn("resnet50d", TSN(), []), tpn("resnet50d", TSM(shift_shortcut=True), [])
    net.load_state_dict(plain.state_dict())
    assert "layer1.0.downsample.1" in net.sites["tsm"]
    assert len(net.sites["tsm"]) == 16 + 4
    for name, module in plain.backbone.named_modules():
        if getattr(module, "downsample", None) is not None and hasattr(module, "conv1"):
            module.register_forward_pre_hook(lambda _, args: (slow_shift(args[0], 4),))
        elif hasattr(module, "bn3") and name:
            module.conv1.register_forward_pre_hook(lambda _, args: (slow_shift(args[0], 4),))
    x = clips(1, 4, 40)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="no residual block with a known shortcut"):
        tpn("mobilenetv2_035", TSM(shift_shortcut=True), [])
    with pytest.raises(ValueError, match="TSM: shift_shortcut is 1; need True or False"):
        TSM(shift_shortcut=1)  # type: ignore[arg-type]


def test_pair_of_logits_compiles_as_one_graph() -> None:
    net, x = tpn().double(), clips(2, 4, 40).double()
    torch._dynamo.reset()
    with torch.no_grad():
        found = torch.compile(net, fullgraph=True, backend="eager")(x, with_aux=True)
        for one, other in zip(found, net(x, with_aux=True), strict=True):
            torch.testing.assert_close(one, other)
