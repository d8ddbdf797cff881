"""Tests of videozoo's backbones through timm's interface."""

import copy
from typing import Any

import pytest
import timm
import torch
from timm.models._manipulate import group_parameters
from torch import Tensor, nn

import videozoo
from videozoo.nets import Backbone, list_backbones
from videozoo.nets.registry import register_backbone
from videozoo.nets.slowfast import slow_frame_indices
from videozoo.nets.tokens import TokenBackbone

# Counted in the authors' code, in MMAction2 and in torchvision, without the classifier.
PARAMETERS = {
    "bninception": 10_270_240,
    "r2plus1d_resnet34": 63_554_081,
    "r2plus1d_resnet18_tv": 31_300_125,
    "slowonly_resnet50": 31_634_496,
    "slowfast_resnet50_8x8": 33_644_488,
    "slowfast_resnet50_8x8_mm": 33_643_560,
    "slowfast_resnet50_4x16": 33_558_216,
}
RESNETS = ("tiny_resnet", "narrow_resnet18", "resnet18_gn")
SMALL = ["bninception", "r2plus1d_resnet18_tv", "slowfast_resnet18_8x8", "slowfast_resnet18_8x8_mm"]


def make(name: str, **kwargs: Any) -> Any:
    """A backbone with random statistics and scales: fresh branches end in a scale of zero."""
    net = timm.create_model(name, num_classes=0, **kwargs)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.6, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.4)
    return net.eval()


def sample(net: Any, frames: int = 8, size: int = 64, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, *([frames] if net.is_3d else []), size, size)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_counted_exactly(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]


def test_every_backbone_is_timms_and_none_is_an_architecture_of_the_zoo() -> None:
    names = list_backbones()
    assert len(names) == len(set(names)) >= 16
    assert all(timm.is_model(name) for name in names)
    assert not set(names) & set(videozoo.list_models())
    with pytest.raises(ValueError, match="already has a model named 'bninception'"):
        register_backbone("bninception", nn.Identity, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_backbones() if not name.startswith("small_")])
def test_every_backbone_can_be_built(name: str) -> None:
    frames = 8 if "timesformer" in name else 32 if "vivit" in name else 16
    size = 107 if name == "inception_v3_tsn" else 64
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=7, in_chans=2)
        x = torch.randn(1, 2, *([frames] if getattr(net, "is_3d", False) else []), size, size)
        assert isinstance(net, timm.models.ResNet if name in RESNETS else Backbone)
        assert net(x).shape == (1, 7)
        assert net.forward_features(x).shape[2 if isinstance(net, TokenBackbone) else 1] == net.num_features


def test_resnet18_gn_takes_all_weights_of_resnet18_but_statistics() -> None:
    net, plain = timm.create_model("resnet18_gn", num_classes=5), timm.create_model("resnet18", num_classes=5)
    missing, unexpected = net.load_state_dict(plain.state_dict(), strict=False)
    assert not missing
    assert {key.rpartition(".")[2] for key in unexpected} == {"running_mean", "running_var", "num_batches_tracked"}
    assert sum(isinstance(module, nn.GroupNorm) for module in net.modules()) == 20


@pytest.mark.parametrize("name", SMALL)
def test_feature_maps_are_those_that_feature_info_promises(name: str) -> None:
    net = make(name)
    x = sample(net)
    with torch.no_grad():
        final, maps = net.forward_intermediates(x)
        last_two = net.forward_intermediates(x, indices=2, intermediates_only=True)
        early = net.forward_intermediates(x, indices=[0, 2], stop_early=True, intermediates_only=True)
        features = net.forward_features(x)
    for row, feature in zip(net.feature_info, maps, strict=True):
        assert feature.shape[1] == row["num_chs"]
        assert feature.shape[-1] == 64 // row["reduction"]
        net.get_submodule(row["module"])
    assert torch.equal(final, features)
    assert torch.equal(maps[-1], features)
    assert torch.equal(last_two[0], maps[3])
    assert [tuple(y.shape) for y in early] == [tuple(maps[0].shape), tuple(maps[2].shape)]
    with pytest.raises(ValueError, match="output_fmt is 'NHWC'"):
        net.forward_intermediates(x, output_fmt="NHWC")


@pytest.mark.parametrize("name", SMALL)
def test_the_head_is_the_global_average_and_takes_a_classifier(name: str) -> None:
    net = make(name)
    x = sample(net)
    with torch.no_grad():
        features = net.forward_features(x)
        pooled = net.forward_head(features, pre_logits=True)
        torch.testing.assert_close(pooled, features.flatten(2).mean(2))
        assert net(x).shape == (2, net.num_features)
    net.reset_classifier(3)
    assert net(x).shape == (2, 3)
    assert net.get_classifier() is net.fc


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_checkpointing_leaves_gradients_as_they_are(name: str) -> None:
    net = make(name).train()
    x = sample(net)
    other = copy.deepcopy(net)
    other.set_grad_checkpointing()
    for each in (net, other):
        each(x).square().sum().backward()
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("name", SMALL)
def test_layer_groups_go_from_the_stem_to_the_last_block(name: str) -> None:
    net = make(name)
    groups = group_parameters(net, net.group_matcher())
    assert sum(len(names) for names in groups.values()) == len(list(net.parameters()))
    assert all(key.startswith(("conv1", "bn1", "stem")) for key in groups[0])
    assert any(key.startswith(("layer4", "stage4")) for key in groups[max(groups)])
    assert len(group_parameters(net, net.group_matcher(coarse=True))) == 5


def test_other_frames_change_the_features_of_a_frame_in_3d_nets() -> None:
    for name in SMALL:
        net = make(name)
        assert net.mixes_time == net.is_3d
        if net.is_3d:
            x = sample(net)
            with torch.no_grad():
                assert not torch.allclose(net(x), net(x.flip(2)), atol=1e-4)


def test_stochastic_depth() -> None:
    net = timm.create_model("slowonly_resnet50", num_classes=0, drop_path_rate=0.3)
    rates = [m.drop_prob for m in net.modules() if type(m).__name__ == "DropPath"]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="no residual branches"):
        timm.create_model("bninception", drop_path_rate=0.1)


@pytest.mark.parametrize("alpha", [2, 4, 8])
def test_slow_frames_are_the_authors(alpha: int) -> None:
    for count in range(1, 33):
        frames = count * alpha
        spaced = torch.linspace(0, frames - 1, count, dtype=torch.float64)
        assert slow_frame_indices(frames, alpha, "linspace") == (spaced + 1e-9).long().tolist()
        assert slow_frame_indices(frames, alpha, "stride") == list(range(0, frames, alpha))
    assert slow_frame_indices(32, 4, "linspace") == [0, 4, 8, 13, 17, 22, 26, 31]


def test_slowfast_map_has_both_pathways_averages() -> None:
    """The average of the map is the concatenation of both pathways' own averages."""
    net = make("slowfast_resnet18_8x8_mm")
    x = sample(net)
    with torch.no_grad():
        state = net._begin(x)
        for index, name in enumerate(net.stage_names):
            state = net._advance(getattr(net, name), net._between(index, state))
        slow, fast = state
        assert (slow.shape[2], fast.shape[2]) == (2, 8)
        own = torch.cat((fast.mean((2, 3, 4)), slow.mean((2, 3, 4))), 1)
        torch.testing.assert_close(net(x), own)


def test_2d_temporal_modules_are_refused_in_3d_nets() -> None:
    with pytest.raises(ValueError, match="3-D model and mixes time itself"):
        videozoo.compose("r2plus1d_resnet18_tv", videozoo.TSM(), num_frames=8)


def test_number_of_frames_must_fit_the_pathways() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        videozoo.compose("slowfast_resnet18_8x8", num_frames=6)
