"""Tests of I3D, S3D and S3D-G: padding, stems, heads, sizes, and torchvision's S3D."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from helpers import randomize_norms
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.models import ModelSpec, model_from_state
from videozoo.nets.inception3d import Inception3dCfg, InceptionNet3d, mean_of_pairs, pad_same_3d

NAMES = ("i3d_inception", "s3d", "s3dg")
_NARROW = Inception3dCfg(stem_widths=(8, 8, 12), stages=(((4, 4, 6, 2, 4, 4),),) * 3)


def narrow(**changes: Any) -> Any:
    return randomize_norms(InceptionNet3d(replace(_NARROW, **changes))).eval()


@pytest.mark.parametrize(("name", "count"), [("i3d_inception", 12_697_264), ("s3d", 8_320_048), ("s3dg", 9_535_072)])
def test_parameters_are_those_of_the_reference(name: str, count: int) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.num_frames == 64


def test_torchvisions_weights_give_torchvisions_logits() -> None:
    """At 40 frames the last map has four, the first and last of which count half."""
    theirs: Any = randomize_norms(torchvision.models.video.s3d(num_classes=7)).eval()
    theirs.avgpool.kernel_size = (2, 2, 2)  # the whole map, as 7 x 7 is at 224 pixels
    converted, source = convert_checkpoint(theirs.state_dict())
    assert source == "torchvision"
    assert (converted.spec["num_frames"], converted.spec["num_classes"]) == (128, 7)
    assert converted.cfg["mean"][0] == 0.43216
    spec = ModelSpec.from_dict(converted.spec).replace(num_frames=40)
    ours = model_from_state(spec, dict(converted.state), source="s3d").eval()
    x = torch.randn(1, 3, 40, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (2, 2), (3, 1)])
def test_same_padding(size: int, kernel: int, stride: int) -> None:
    """TensorFlow's rule, position by position: ceil(size / stride) windows, the smaller half of the zeros in front."""
    x = torch.randn(1, 1, size, 4, 5).abs()
    count = -(-size // stride)
    total = max((count - 1) * stride + kernel - size, 0)
    padded = pad_same_3d(x, (kernel, 1, 1), (stride, 1, 1))
    assert torch.equal(padded, F.pad(x, (0, 0, 0, 0, total // 2, total - total // 2)))
    assert F.max_pool3d(padded, (kernel, 1, 1), (stride, 1, 1)).shape[2] == count


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 33, 41), (16, 64, 32)])
@pytest.mark.parametrize("padding", ["same", "end"])
def test_maps_round_up(shape: tuple[int, int, int], padding: str) -> None:
    net = narrow(padding=padding, stem="full" if padding == "same" else "thin")
    maps = net.forward_intermediates(torch.randn(1, 3, *shape), intermediates_only=True)
    for row, level in zip(maps, range(1, 6), strict=True):
        wanted = [-(-n // 2**level) for n in shape[1:]]
        assert list(row.shape[3:]) == wanted


def test_folded_stem_is_the_convolution_of_blocks_without_its_first_positions() -> None:
    net = narrow(stem="folded", padding="end")
    x = torch.randn(2, 3, 4, 6, 8)
    blocks = torch.empty(2, 24, 2, 3, 4)
    for channel in range(24):
        t, rest = divmod(channel, 12)
        h, rest = divmod(rest, 6)
        w, color = divmod(rest, 3)
        blocks[:, channel] = x[:, color, t::2, h::2, w::2]
    full = F.conv3d(blocks, net.conv1.weight, padding=(1, 2, 2))[:, :, 1:, 1:, 1:]
    torch.testing.assert_close(net._begin(x), net.act1(net.bn1(full)))
    with pytest.raises(ValueError, match="num_frames is 3; need a positive multiple of 2"):
        videozoo.compose("s3dg_inception_v1_folded", num_frames=3)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_mean_of_pairs(frames: int) -> None:
    x = torch.randn(2, 3, frames)
    pairs = [(x[..., t] + x[..., t + 1]) / 2 for t in range(frames - 1)] or [x[..., 0]]
    torch.testing.assert_close(mean_of_pairs(x), torch.stack(pairs).mean(0))


def test_gates_scale_by_the_mean_of_the_clip() -> None:
    gated = narrow(is_gated=True)
    x = torch.randn(1, 3, 4, 32, 32)
    for module in gated.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.constant_(module.bias, 100.0)
    plain = narrow()
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if "gate" not in k})
    with torch.no_grad():
        torch.testing.assert_close(gated(x), plain(x))


def test_small_clips_are_refused_where_a_map_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="num_frames is 4; need 5 or more"):
        videozoo.create_model("s3d", num_frames=4)
    net = narrow(stem="separable", is_separable=True, padding="symmetric")
    assert net(torch.randn(1, 3, 5, 17, 17)).shape == (1, 18)
    with pytest.raises(ValueError, match=r"map before stage 4 is \(2, 1, 2\).*17 pixels or more"):
        net(torch.randn(1, 3, 5, 16, 17))


@pytest.mark.parametrize("name", NAMES)
def test_temporal_modules_are_refused(name: str) -> None:
    backbone = videozoo.create_model(name).spec.backbone  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="is a 3-D model and mixes time itself"):
        videozoo.compose(backbone, TSM())


def authors_state(prefix: str = "") -> dict[str, Tensor]:
    with torch.device("meta"):
        weights = {
            "Conv3d_1a_7x7.conv3d.weight": torch.empty(64, 2, 7, 7, 7),
            "Mixed_5c.b0.conv3d.weight": torch.empty(1),
        }
    return {prefix + key: value for key, value in weights.items()}


def test_optical_flow_has_two_channels() -> None:
    converted, source = convert_checkpoint(authors_state())
    assert (source, converted.spec["in_chans"], converted.cfg["mean"]) == ("i3d_inception", 2, (0.5, 0.5))


@pytest.mark.parametrize("part", [ARC(layers=("conv3d",)), DNR()], ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_augmenters(name: str, part: Any) -> None:
    with torch.device("meta"):
        backbone = videozoo.create_model(name).spec.backbone  # type: ignore[union-attr]
        model = videozoo.compose(backbone, augmenters=[part], num_frames=16)
    assert model.sites
