"""Tests of GSM: its equations, its sites, its start, and its clear refusals."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomize
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, GSM, TSM
from videozoo.layers import GateShift
from videozoo.surgery import PostConv2d, insert_after

B, S, C = 2, 4, 8


def interleaved(half: Tensor) -> Tensor:
    """Channels 0, 4, 1, 5, ... of eight."""
    order = [i * len(half[0]) // 2 + j for j in range(len(half[0]) // 2) for i in range(2)]
    return half[:, order]


def by_the_paper(layer: GateShift, x: Tensor) -> Tensor:
    """The equations on clips (B, C, S, H, W), written down with a 3-D convolution."""
    clips = x.unflatten(0, (B, S)).transpose(1, 2)
    norm = layer.norm
    normed = F.relu(F.batch_norm(clips, norm.running_mean, norm.running_var, norm.weight, norm.bias))
    weight = layer.conv.weight.unflatten(0, (2, 3)).transpose(1, 2)
    gates = F.conv3d(normed, weight, layer.bias, padding=1, groups=2).tanh()
    zero = torch.zeros_like(clips[:, : C // 2, :1])
    halves = []
    for k, half in enumerate(clips.chunk(2, 1)):
        gated = gates[:, k : k + 1] * half
        moved = torch.cat((gated[:, :, 1:], zero) if k == 0 else (zero, gated[:, :, :-1]), 2)
        halves.append(interleaved(moved + half - gated))
    return torch.cat(halves, 1).transpose(1, 2).flatten(0, 1)


def test_layer_equals_its_equations_on_clips() -> None:
    torch.manual_seed(0)
    layer = randomize(GateShift(C, S)).double().eval()
    x = torch.randn(B * S, C, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), by_the_paper(layer, x))
        assert 0 < layer.gates(x).abs().amax() < 1


def test_a_new_layer_only_permutes_channels() -> None:
    x = torch.randn(B * S, C, 3, 3)
    expected = torch.cat([interleaved(half) for half in x.chunk(2, 1)], 1)
    assert torch.equal(GateShift(C, S)(x), expected)


def test_every_parameter_gets_a_gradient_on_channels_last_maps() -> None:
    layer = randomize(GateShift(C, S)).train()
    x = torch.randn(B * S, C, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, layer(x.contiguous()))
    y.square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_branches_of_bn_inception_are_the_authors() -> None:
    net = videozoo.compose("bninception", GSM(), num_classes=4, num_frames=2)
    blocks = [name.split(".")[-2:] for name in net.sites["gsm"]]
    assert blocks == [
        [f"inception_{module}", "conv_3x3_reduce" if module in ("3c", "4e") else "conv_1x1"]
        for module in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    ]


@pytest.mark.parametrize("backbone", ["regnety_002", "mobilenetv2_035", "efficientnet_b0", "tiny_resnet"])
def test_other_backbones_have_a_gate_before_the_first_norm_of_a_block(backbone: str) -> None:
    net = videozoo.compose(backbone, GSM(), num_classes=4, num_frames=3).eval()
    gated = [module for module in net.modules() if isinstance(module, PostConv2d)]
    assert len(gated) == len(net.sites["gsm"]) > 3
    with torch.no_grad():
        assert net(torch.randn(1, 3, 3, 40, 40)).shape == (1, 4)


@pytest.mark.parametrize(
    "augmenters",
    [[ARC()], [DNR()], [DNR(interlace=True)], [ARC(), DNR()], [DNR(), ARC(layers=("pointwise",))]],
    ids=str,
)
def test_augmenters_go_on_top_and_keep_the_gates(augmenters: list[ARC | DNR]) -> None:
    torch.manual_seed(0)
    net = randomize(videozoo.compose("tiny_resnet", GSM(), augmenters, num_classes=4, num_frames=4)).eval()
    gates = [module for module in net.modules() if isinstance(module, GateShift)]
    assert len(gates) == 4
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        y = net(x)
        for gate in gates:
            gate.bias += 1
        assert not torch.allclose(net(x), y)
        torch.testing.assert_close(videozoo.fuse(net)(x), net(x), rtol=1e-4, atol=1e-4)


def test_refusals_say_what_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"layer1.0.conv1: GateShift: 18 channels .* multiple of 4"):
        GSM().apply(ResNet(BasicBlock, (1, 1, 1, 1), channels=(18, 24, 32, 48), stem_width=16), 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no block with a known convolution before a norm in ConvNeXt"):
        videozoo.compose("convnext_atto", GSM())
    with pytest.raises(ValueError, match="3-D model"):
        videozoo.compose("slowonly_resnet50", GSM())
    net = videozoo.compose("tiny_resnet", TSM(), num_classes=4)
    with pytest.raises(ValueError, match="PreConv2d already runs another module"):
        GSM().apply(net.backbone, 8)
    with pytest.raises(ValueError, match="GSM takes half of the gated features from the frame after"):
        videozoo.compose("tiny_resnet", GSM(), num_classes=4).streaming()


def test_the_same_convolution_under_two_names_gets_one_gate() -> None:
    block = BasicBlock(8, 8)  # type: ignore[call-arg]
    net = nn.Sequential(nn.Sequential(block), nn.Sequential(block))
    insert_after(net, lambda conv: GateShift(conv.out_channels, S))
    assert net[0][0].conv1 is net[1][0].conv1  # type: ignore[index]
