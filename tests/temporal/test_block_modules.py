"""Tests of GST, SmallBigNet, ABM and STM: their layers against loops, their start, their refusals, their sizes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, randomize, randomize_norms, small_base, small_video_net
from torch import Tensor, nn

import videozoo
from videozoo import ABM, ARC, DNR, GST, STM, TSN, SmallBig
from videozoo.layers import BigView, ChannelwiseMotion, GlobalView, GroupedSpatialTemporal
from videozoo.shapes import fold_time, to_clips

S = 4


def folded(channels: int, size: tuple[int, int] = (6, 5)) -> Tensor:
    return torch.randn(2 * S, channels, *size, dtype=torch.float64)


@pytest.mark.parametrize(("beta", "stride"), [(2, 1), (2, 2), (1, 1)])
def test_grouped_convolutions_are_sums_over_three_steps(beta: int, stride: int) -> None:
    layer = GroupedSpatialTemporal(8, 12, S, alpha=4, beta=beta, stride=stride).double()
    x = folded(8)
    first, last = (x[:, :4], x[:, 4:]) if beta == 2 else (x, x)
    out = layer(x)
    assert torch.equal(out[:, :9], layer.spatial(first))
    steps = last.unflatten(0, (-1, S))
    for s in range(S):
        want = torch.zeros_like(out.unflatten(0, (-1, S))[:, s, 9:])
        for tap, other in enumerate((s - 1, s, s + 1)):
            if 0 <= other < S:
                want += F.conv2d(steps[:, other], layer.temporal.weight[:, :, tap], stride=stride, padding=1)
        torch.testing.assert_close(out.unflatten(0, (-1, S))[:, s, 9:], want)


def test_big_views_pool_over_space_and_time() -> None:
    x, conv = folded(5), nn.Conv2d(5, 3, 1).double()
    near = BigView(3, S).double()
    torch.testing.assert_close(near.pool(x), fold_time(F.max_pool3d(to_clips(x, S), 3, 1, 1)))
    whole = BigView(3, S, whole_clip=True).double()
    want = F.max_pool3d(to_clips(x, S), (S, 3, 3), 1, (0, 1, 1))[:, :, 0]
    torch.testing.assert_close(whole.pool(x), want)
    small = torch.randn(2 * S, 3, 6, 5, dtype=torch.float64)
    for view in (near, whole):
        assert torch.equal(view(x, conv, small), small)  # as it starts
    big = randomize_norms(whole).eval()
    torch.testing.assert_close(
        big(x, conv, small).unflatten(0, (-1, S)), small.unflatten(0, (-1, S)) + big.norm(conv(want))[:, None]
    )
    one = BigView(3, 1).double()
    torch.testing.assert_close(one.pool(x), F.max_pool2d(x, 3, 1, 1))


def test_global_view_gates_by_the_largest_values_of_a_clip() -> None:
    x, view = folded(8), GlobalView(8, S).double()
    assert torch.equal(view(x), x)
    randomize_norms(view).eval()
    reduced = (view.reduce(x)).unflatten(0, (-1, S))
    gate = torch.sigmoid(torch.einsum("oc,bc->bo", view.reduce.weight[:, :, 0, 0], to_clips(x, S).amax((2, 3, 4))))
    want = x + view.norm(view.expand((reduced * gate[:, None, :, None, None]).flatten(0, 1)))
    torch.testing.assert_close(view(x), want)


def test_channelwise_motion_compares_each_step_with_the_next() -> None:
    motion = randomize_norms(ChannelwiseMotion(32, 6, S).double()).eval()
    x = folded(32)
    squeezed = motion.squeeze_norm(motion.squeeze(x)).unflatten(0, (-1, S))
    out = motion(x).unflatten(0, (-1, S))
    for s in range(S - 1):
        d = motion.map(squeezed[:, s + 1]) - squeezed[:, s]
        torch.testing.assert_close(out[:, s], motion.expand(d))
    assert not out[:, -1].any()


@pytest.mark.parametrize("temporal", [SmallBig(), SmallBig(extra=True), ABM(frames_per_segment=1)])
def test_a_new_model_starts_as_its_backbone(temporal: Any) -> None:
    torch.manual_seed(0)
    base = small_base(temporal).eval()
    x = torch.randn(2 * S, 3, 32, 32)
    with torch.no_grad():
        want = base(x)
        temporal.apply(base, S)
        torch.testing.assert_close(base.eval()(x), want)


def test_a_stem_on_stacked_frames_repeats_its_weights() -> None:
    base = small_base(ABM())
    before = base.conv1.weight.detach().clone()
    assert ABM().apply(base, S)[0] == "conv1"
    assert base.conv1.in_channels == 9
    assert torch.equal(base.conv1.weight, before.repeat(1, 3, 1, 1))


def test_gst_keeps_the_filters_of_the_backbone_that_fit() -> None:
    base: Any = small_base(GST())
    before = base.layer1[0].conv2.weight.detach().clone()
    GST().apply(base, S)
    kept = base.layer1[0].conv2.spatial.weight
    assert torch.equal(kept, before[: len(kept), : kept.shape[1]])


def test_stm_starts_as_shifts_of_a_quarter_of_the_channels() -> None:
    base: Any = small_base(STM())
    STM().apply(base, S)
    conv = base.layer2[0].conv2.pre
    assert conv.weight[:8].squeeze(1).tolist() == [[1, 0, 0]] * 8
    assert conv.weight[8:-8].squeeze(1).tolist() == [[0, 1, 0]] * 16
    assert conv.weight[-8:].squeeze(1).tolist() == [[0, 0, 1]] * 8


@pytest.mark.parametrize("pixels", [32, 41])
def test_motion_features_have_the_size_of_the_map(pixels: int) -> None:
    net = randomize(small_video_net(STM())).eval()
    assert net(clips(1, net.num_frames, pixels)).isfinite().all()


def test_smallbig_does_not_tell_a_clip_from_its_reverse() -> None:
    net = randomize(small_video_net(SmallBig(extra=True), num_segments=S)).eval()
    x = clips(1, S, 32)
    with torch.no_grad():
        y = net(x)
        torch.testing.assert_close(net(x.flip(2)), y)
        assert (net(x[:, :, [1, 0, 2, 3]]) - y).abs().max() > 1e-3 * y.abs().max()


@pytest.mark.parametrize("temporal", [GST(), GST(beta=1), SmallBig(extra=True), ABM(), STM()])
def test_a_frozen_backbone_stays_frozen(temporal: Any) -> None:
    base = small_base(temporal).requires_grad_(False)
    temporal.apply(base, S)
    trained = {name for name, p in base.named_parameters() if p.requires_grad}
    added = (".conv2.temporal.", ".big", ".whole.", ".factor.", ".conv2.pre.", ".motion.")
    assert trained
    assert all(any(part in name for part in added) for name in trained)


@pytest.mark.parametrize(
    ("temporal", "backbone", "message"),
    [
        (GST(), "resnet18", r"GST: layer1.0.conv1 starts a BasicBlock, and GST is defined for the 3x3 of bottlenecks"),
        (GST(), "regnetx_002", r"GST: s1.b1.conv2.conv is a grouped convolution; need a dense 3x3"),
        (GST(), "mobilenetv2_050", r"GST: blocks.0.0.conv_dw is a depth-wise convolution"),
        (GST(), "resnext50_32x4d", r"GST: layer1.0.conv2 is a grouped convolution"),
        (GST(alpha=7), "resnet14t", r"layer1.0.conv2: 64 input and 64 output channels cannot be split by beta=2"),
        (GST(), "convnext_atto", r"GST: no residual block with a known 3x3 convolution in ConvNeXt"),
        (SmallBig(), "resnet18", r"SmallBig: ResNet has resnet.BasicBlock where resnet.Bottleneck of timm"),
        (STM(), "regnetx_002", r"STM: RegNet has regnet.Bottleneck where resnet.Bottleneck of timm"),
        (STM(), "convnext_atto", r"STM: ConvNeXt has no known blocks where"),
        (ABM(), "resnet14t", r"ABM: no residual block .* in stages \(2, 3, 4\), the first of each stage left out"),
        (ABM(), "mobilenetv2_050", r"ABM: blocks.2.1.conv_dw is a depth-wise convolution"),
    ],
)
def test_backbones_without_the_site_are_refused(temporal: Any, backbone: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        videozoo.compose(backbone, temporal, num_classes=3, num_frames=6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GST(alpha=1), "GST: alpha is 1; need a whole number, 2 or more"),
        (lambda: GST(beta=4), "GST: beta is 4; choose one of 1, 2"),
        (lambda: SmallBig(extra=1), "SmallBig: extra is 1; need True or False"),  # type: ignore[arg-type]
        (lambda: ABM(frames_per_segment=0), "ABM: frames_per_segment is 0; need a whole number, 1 or more"),
    ],
)
def test_wrong_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "num_classes", "params"),
    [
        ("gst_r50", 174, 21_035_246),
        ("gst_r50", 48, 20_777_072),
        ("gst_large_r50", 174, 29_523_182),
        ("smallbig_r50", 400, 24_370_640),
        ("smallbig_extra_r50", 400, 32_292_816),
        ("abm_iabp_r18", 174, 26_768_366),
        ("abm_iabp_r34", 174, 61_945_838),
        ("abm_iabp_r50", 174, 64_417_646),
        ("stm_r50", 174, 24_035_666),  # the paper prints 24.0 M
    ],
)
def test_parameters_are_those_of_the_authors(name: str, num_classes: int, params: int) -> None:
    with torch.device("meta"):
        net = videozoo.create_model(name, num_classes=num_classes)
    assert sum(p.numel() for p in net.parameters()) == params


@pytest.mark.parametrize("temporal", [GST(), SmallBig(extra=True), ABM(), STM()])
@pytest.mark.parametrize("augmenters", [(ARC(),), (DNR(ct_group_frames=2),), (DNR(), ARC())])
def test_augmenters_work_on_top(temporal: Any, augmenters: tuple[Any, ...]) -> None:
    net = randomize(small_video_net(temporal, augmenters))
    x = clips(2, net.num_frames, 32)  # type: ignore[arg-type]
    net(x).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_arc_on_1x1_convolutions_of_smallbig_is_refused() -> None:
    net = small_video_net(SmallBig(), (ARC(layers=("pointwise",)),))
    with pytest.raises(ValueError, match="leave 'pointwise' out of the layers of ARC"):
        net(clips(3, 3, 32))


@pytest.mark.parametrize("temporal", [GST(), SmallBig(), ABM(), STM()])
def test_there_is_no_causal_form(temporal: Any) -> None:
    net = small_video_net(temporal)
    with pytest.raises(ValueError, match=r"cannot be causal: .* and no form without it is known"):
        net.streaming(nearest=True)
    assert small_video_net(TSN()).streaming() is not None
