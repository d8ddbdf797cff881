"""Tests of DNR in whole models, against blocks run by hand."""

import copy
from typing import Any

import pytest
import torch
from helpers import each_module, randomize, small_bottleneck_resnet, small_resnet
from reference_dnr import SlowResnet
from timm.models.resnet import ResNet
from torch import nn

from videozoo.augment import DNR, CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.layers import TemporalShift
from videozoo.surgery import RelayStage
from videozoo.temporal import TSM

LAYERS = (2, 3, 1, 4)


def dnr_net(make: Any, frames: int, **options: Any) -> ResNet:
    """A small ResNet with DNR, random and in float64."""
    net = make(LAYERS)
    DNR(**options).apply(net, frames)
    return randomize(net.double(), 0.3).eval()  # type: ignore[return-value]


@pytest.mark.parametrize("make", [small_resnet, small_bottleneck_resnet])
@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (8, {}),
        (8, {"cl_distance": 2}),
        (8, {"cl_distance": 3, "ct_group_frames": 3}),
        (5, {"ct_group_frames": 2, "interlace": False}),
        (4, {"order": "ct_cl"}),
        (4, {"order": "cl_bn"}),
        (4, {"order": "bn_cl", "cl_distance": 2}),
        (4, {"order": "ct_bn", "ct_group_frames": 2}),
        (4, {"order": "bn_ct", "ct_group_frames": 1}),
        (4, {"reduction": 2, "depth": 2}),
    ],
)
def test_a_model_equals_its_blocks_run_by_hand(make: Any, frames: int, options: dict[str, Any]) -> None:
    """Zero state at each stage, one cell per stage, relay distances, groups, interlacing: all of it in one sum."""
    net = dnr_net(make, frames, **options)
    x = torch.randn(2 * frames, 3, 32, 32, dtype=torch.float64)
    fields = {
        "group_frames": options.get("ct_group_frames", 4),
        "cl_distance": options.get("cl_distance", 1),
        "interlace": options.get("interlace", True),
        "order": options.get("order", "cl_ct"),
    }
    with torch.no_grad():
        expected = SlowResnet(net.state_dict(), LAYERS, frames, **fields)(x)
        torch.testing.assert_close(net.forward_features(x), expected, rtol=0, atol=1e-10)


def test_gradients_equal_those_of_the_walk() -> None:
    net = dnr_net(small_resnet, 4, ct_group_frames=2)
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    net.forward_features(x).sum().backward()
    got = {name: p.grad for name, p in net.named_parameters()}
    leaves = {k: v.detach().clone().requires_grad_(k in got) for k, v in net.state_dict().items()}
    SlowResnet(leaves, LAYERS, 4, group_frames=2)(x).sum().backward()
    for name, grad in got.items():
        expected = leaves[name].grad
        assert grad is not None
        torch.testing.assert_close(grad, expected, rtol=1e-8, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("make", [small_resnet, small_bottleneck_resnet])
def test_placement_is_cl_first_ct_second_and_nothing_else(make: Any) -> None:
    net = make(LAYERS)
    plain = {name for name, _ in each_module(net, nn.BatchNorm2d)}
    changed = DNR().apply(net, 8)
    blocks = [f"layer{s}.{b}" for s, n in enumerate(LAYERS, 1) for b in range(n)]
    long = [name for name in blocks if not name.startswith("layer3")]
    assert [name for name, _ in each_module(net, CrossLayerNorm2d)] == [f"{name}.bn1" for name in long]
    ct = {name for name, _ in each_module(net, CrossTemporalNorm2d)}
    assert ct == {f"{name}.bn2" for name in blocks} | {"layer3.0.bn1"}
    assert {name for name, _ in each_module(net, nn.BatchNorm2d)} == plain - {
        f"{b}.bn{k}" for b in blocks for k in (1, 2)
    }
    expected = {f"{b}.{site}" for b in blocks for site in ("conv1", "bn1", "bn2")}
    assert set(changed) == expected
    assert len(changed) == len(expected)


def test_one_cell_per_stage_is_shared_and_counted_once() -> None:
    net = small_resnet(LAYERS)
    DNR().apply(net, 8)
    stages = [net.get_submodule(f"layer{s}") for s in (1, 2, 4)]
    assert all(isinstance(stage, RelayStage) and len(stage.relay) == 1 for stage in stages)
    assert {name for name, _ in net.named_parameters() if "phi_h" in name and "relay" in name} == {
        f"layer{s}.relay.0.phi_h.{i}.weight" for s in (1, 2, 4) for i in (0, 2)
    }


def test_keys_of_the_base_keep_their_names_and_objects() -> None:
    net = small_bottleneck_resnet(LAYERS)
    before = dict(net.named_parameters())
    buffers = set(dict(net.named_buffers()))
    DNR().apply(net, 8)
    after = dict(net.named_parameters())
    dropped = {k for k in before if k not in after}
    assert dropped == {k for k in before if ".bn1." in k or ".bn2." in k}
    assert all(after[k] is before[k] for k in before if k not in dropped)
    assert set(dict(net.named_buffers())) == buffers


@pytest.mark.parametrize("make", [small_resnet, small_bottleneck_resnet])
@pytest.mark.parametrize("training", [True, False])
def test_keep_affine_preserves_a_trained_model(make: Any, training: bool) -> None:
    base = randomize(make(LAYERS).double()).train(training)
    net = copy.deepcopy(base)
    DNR(keep_affine=True, interlace=False).apply(net, 4)
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(net(x), base(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        dict(net.named_buffers())["layer1.0.bn1.running_var"], dict(base.named_buffers())["layer1.0.bn1.running_var"]
    )


def test_interlacing_follows_the_base() -> None:
    """On where nothing mixes time, off behind TSM; True and False decide by themselves."""

    def shifts(temporal: TSM | None, interlace: bool | None) -> int:
        net = small_resnet(LAYERS)
        if temporal is not None:
            temporal.apply(net, 4)
        DNR(interlace=interlace).apply(net, 4)
        return len(list(each_module(net, TemporalShift)))

    assert shifts(None, None) == shifts(None, True) == sum(LAYERS)
    assert shifts(TSM(), None) == shifts(TSM(), False) == sum(LAYERS)
    assert shifts(None, False) == 0
    with pytest.raises(ValueError, match="already a PreConv2d"):
        shifts(TSM(), True)


def test_bidirectional_adds_a_cell_to_cross_temporal_norms_only() -> None:
    net = small_resnet(LAYERS)
    DNR(bidirectional=True).apply(net, 8)
    backward = {k.partition(".backward_cell")[0] for k, _ in net.named_parameters() if "backward_cell" in k}
    assert backward == {f"layer{s}.{b}.bn2" for s, n in enumerate(LAYERS, 1) for b in range(n)}


def test_group_norm_everywhere_leaves_no_statistics_in_the_changed_norms() -> None:
    net = small_resnet(LAYERS)
    DNR(norm="gn").apply(net, 4)
    assert not [k for k, _ in net.named_buffers() if ".bn1." in k or ".bn2." in k]
    net.train()(torch.randn(4, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize("relay", ["fc", "se", "none"])
def test_other_relays_train(relay: Any) -> None:
    net = dnr_net(small_resnet, 4, relay=relay, ct_group_frames=2).float().train()
    net(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_trains_with_a_single_clip(frames: int) -> None:
    """Where it helps most: the batch is one clip."""
    net = dnr_net(small_resnet, frames).float().train()
    net(torch.randn(frames, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"order": "bn_bn"}, "order is 'bn_bn'"),
        ({"relay": "gru"}, "relay is 'gru'"),
        ({"norm": "ln"}, "norm is 'ln'"),
        ({"ct_group_frames": 0}, "ct_group_frames is 0; need 1 or more"),
        ({"cl_distance": 0}, "cl_distance is 0"),
        ({"reduction": 0}, "reduction is 0"),
        ({"depth": -1}, "depth is -1"),
    ],
)
def test_senseless_options_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"DNR: {message}"):
        DNR(**kwargs)
