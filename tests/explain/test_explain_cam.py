"""Grad-CAM per frame: it finds a moving patch, in the right frames, and agrees with slow references and captum."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from explain_tiny import SIDE, make, patch_clips
from helpers import clips
from torch import Tensor

import videozoo
from videozoo import ARC, DNR, TSM, TSN
from videozoo.explain import grad_cam
from videozoo.explain.cam import find_class
from videozoo.temporal import MSN, TDN, TRN, TANet


def enlarged(maps: Tensor, size: int) -> Tensor:
    return F.interpolate(maps, [size, size], mode="bilinear", align_corners=False)


def slow_cam(model: Any, x: Tensor, row: int) -> Tensor:
    """(B, S, h, w) from timm's own feature maps, for the predicted class, channel by channel; not scaled."""
    final, maps = model.backbone.forward_intermediates(model._fold(x))
    features = maps[row]
    (gradient,) = torch.autograd.grad(model._head(final).amax(1).sum(), features)
    images = []
    for image, slope in zip(features.detach(), gradient, strict=True):
        total = torch.zeros(image.shape[1:], dtype=image.dtype)
        for channel in range(len(image)):
            total += slope[channel].mean() * image[channel]
        images.append(total.clamp(min=0))
    return torch.stack(images).reshape(len(x), -1, *features.shape[2:])


@pytest.mark.parametrize(
    ("temporal", "augmenters", "frames"),
    [
        pytest.param(TSN(), (), 4, id="tsn"),
        pytest.param(TSM(), (ARC(),), 4, id="arc_tsm"),
        pytest.param(MSN(), (), 4, id="msn"),
        pytest.param(TANet(), (DNR(),), 4, id="dnr_tanet"),
        pytest.param(TDN(), (DNR(),), 10, id="dnr_tdn"),
        pytest.param(TDN(), (ARC(),), 10, id="arc_tdn", marks=pytest.mark.slow),
        pytest.param(TRN(hidden=8), (), 4, id="trn"),
    ],
)
def test_maps_agree_with_a_slow_reference_at_every_stage(temporal: Any, augmenters: Any, frames: int) -> None:
    # Some convolutions of TDN have a sixteenth of the channels, too few in the tiny backbone to be cut by ARC.
    backbone = "resnet18" if augmenters and isinstance(augmenters[0], ARC) and frames == 10 else "tiny_resnet"
    model = make(temporal, augmenters, frames, backbone).double()
    x = clips(2, frames, 64).double()
    peaks = []
    for stage in (1, 2, 3, 4):
        found = grad_cam(model, x, stage=stage)
        slow = slow_cam(model, x, stage)
        expected = slow / slow.amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
        torch.testing.assert_close(found.maps, expected.float(), atol=1e-5, rtol=1e-4)
        peaks += found.maps.amax((1, 2, 3)).tolist()
    assert set(peaks) <= {0, 1}  # 0: nothing in the clip speaks for the class
    assert sum(peaks) >= 2
    assert found.frames == ((2, 7) if frames == 10 else (0, 1, 2, 3))


def test_maps_find_the_moving_patch(spotter: Any) -> None:
    x, labels, masks = patch_clips(16, seed=1)
    found = grad_cam(spotter, x, stage="res3", classes=labels)
    assert (found.logits.argmax(1) == labels).float().mean() > 0.8
    maps = enlarged(found.maps, x.shape[-1])
    around = F.max_pool2d(masks, 9, 1, 4)  # a cell of the map is 8 pixels wide
    inside = (maps * around).sum((1, 2, 3)) / maps.sum((1, 2, 3))
    share = around.mean((1, 2, 3))
    assert (inside / share).median() > 3  # at random: 1
    # The other classes see the patch less.
    wrong = grad_cam(spotter, x, stage="res3", classes=(labels + 1) % 3).maps
    elsewhere = enlarged(wrong, x.shape[-1])
    assert (elsewhere * around).sum() / elsewhere.sum() < inside.mean()


def test_every_frame_has_its_own_map_in_order(spotter: Any) -> None:
    x, labels, masks = patch_clips(16, seed=2)
    maps = enlarged(grad_cam(spotter, x, classes=labels).maps, x.shape[-1])
    # How much of frame t's map lies on the patch of frame s: most where both are the same.
    around = F.max_pool2d(masks, 9, 1, 4)
    shares = maps / maps.sum((2, 3), keepdim=True).clamp(min=1e-9)
    overlap = torch.einsum("bthw,bshw->bts", shares, around).mean(0)
    assert overlap.argmax(1).tolist() == [0, 1, 2, 3]


def test_a_patch_in_one_frame_is_seen_in_that_frame() -> None:
    model = make(TSN(), frames=4)
    x, _, _ = patch_clips(1, seed=3, frames=1)
    y = torch.zeros(1, 3, 4, 64, 64)
    y[:, :, 2] = x[:, :, 0]
    blank = grad_cam(model, y, stage="res4")
    assert torch.equal(blank.maps[0, 0], blank.maps[0, 1])
    assert torch.equal(blank.maps[0, 0], blank.maps[0, 3])
    assert not torch.allclose(blank.maps[0, 2], blank.maps[0, 0])
    turned = grad_cam(model, y.flip(2), stage="res4")
    torch.testing.assert_close(turned.maps, blank.maps.flip(1), atol=1e-5, rtol=1e-4)


def test_predicted_chosen_and_many_classes() -> None:
    model = make(TSM())
    x = clips(3, 4, 48)
    own = grad_cam(model, x)
    assert torch.equal(own.classes, model(x).argmax(1))
    one = grad_cam(model, x, classes=1)
    both = grad_cam(model, x, classes=torch.tensor([1, 4, 1]))
    torch.testing.assert_close(both.maps[[0, 2]], one.maps[[0, 2]], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(both.maps[1], one.maps[1], atol=1e-3)
    alone = grad_cam(model, x[1:2], classes=4)
    torch.testing.assert_close(both.maps[1:2], alone.maps, atol=1e-5, rtol=1e-4)


def test_res_names_are_stages_and_grad_mode_does_not_matter() -> None:
    model = make(TSM())
    x = clips(1, 4, 48)
    third = grad_cam(model, x, stage=3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            again = grad_cam(model, x.clone(), stage="res4")
        assert torch.equal(again.maps, third.maps)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("r2plus1d_resnet18_tv", 8), ("slowfast_resnet18_8x8_mm", 4)])
def test_3d_models_have_a_map_for_each_frame(name: str, side: int) -> None:
    model = make(frames=8, backbone=name)
    x = clips(1, 8, 32)
    with torch.no_grad():
        plain = model(x)
    found = grad_cam(model, x, stage="res3")
    assert found.maps.shape == (1, 8, side, side)
    assert found.frames == tuple(range(8))
    torch.testing.assert_close(found.logits, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.extras
def test_3d_maps_agree_with_captum() -> None:
    attr = pytest.importorskip("captum.attr")
    model = make(frames=4, backbone="r2plus1d_resnet18_tv")
    x = clips(1, 4, 48)
    whole = attr.LayerGradCam(model, model.backbone.layer1).attribute(x, target=3, relu_attributions=True)[:, 0]
    found = grad_cam(model, x, stage=1, classes=3)
    torch.testing.assert_close(found.maps, (whole / whole.max()).detach(), atol=1e-5, rtol=1e-4)
    # Stage 2 has two steps, at frames 0 and 2: frame 1 lies between them, frame 3 takes the last.
    steps = attr.LayerGradCam(model, model.backbone.layer2).attribute(x, target=3)[0, 0].detach()
    slow = torch.stack([steps[0], (steps[0] + steps[1]) / 2, steps[1], steps[1]]).relu()
    found = grad_cam(model, x, stage=2, classes=3)
    torch.testing.assert_close(found.maps[0], slow / slow.max(), atol=1e-5, rtol=1e-4)


@pytest.mark.extras
def test_2d_maps_agree_with_captum_on_folded_frames() -> None:
    attr = pytest.importorskip("captum.attr")
    model = make(TSM())
    x = clips(1, 4, 64)
    slow = attr.LayerGradCam(model, model.backbone.layer2).attribute(x, target=3, relu_attributions=True)[:, 0]
    found = grad_cam(model, x, stage=2, classes=3)
    torch.testing.assert_close(found.maps[0], (slow / slow.max()).detach(), atol=1e-5, rtol=1e-4)


def slow_slowfast_cam(model: Any, x: Tensor, label: int) -> Tensor:
    """Both pathways of stage 3 by hooks on the model itself, the slow one placed at every fourth frame."""
    kept: list[Tensor] = []
    handle = model.backbone.layer3.register_forward_hook(lambda _m, _a, out: kept.extend(out))
    score = model(x)[:, label].sum()
    handle.remove()
    gradients = torch.autograd.grad(score, kept)
    slow, fast = ((g.sum((2, 3, 4), keepdim=True) * f).sum(1).detach() for f, g in zip(kept, gradients, strict=True))
    rows = []
    for t in range(x.shape[2]):
        step, rest = divmod(t, 4)
        after = min(step + 1, slow.shape[1] - 1)
        rows.append(fast[:, t] + slow[:, step] * (1 - rest / 4) + slow[:, after] * rest / 4)
    return torch.stack(rows, 1).relu()


@pytest.mark.slow
def test_two_pathways_are_added() -> None:
    model = make(frames=8, backbone="slowfast_resnet18_8x8_mm")
    x = clips(1, 8, 32)
    slow = slow_slowfast_cam(model, x, 1)
    found = grad_cam(model, x, stage=3, classes=1)
    torch.testing.assert_close(found.maps, slow / slow.max(), atol=1e-4, rtol=1e-3)


def test_bad_input_says_what_is_needed() -> None:
    model = make(TSM())
    x = clips(1, 4, 48)
    with pytest.raises(ValueError, match="no stage 'res6'; choose 1 to 4, or res2, res3, res4, res5"):
        grad_cam(model, x, stage="res6")
    with pytest.raises(ValueError, match="no stage 0"):
        grad_cam(model, x, stage=0)
    with pytest.raises(ValueError, match="need one from 0 to 4"):
        grad_cam(model, x, classes=5)
    with pytest.raises(ValueError, match="or one for each of 1 clips"):
        grad_cam(model, x, classes=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="num_classes=0"):
        grad_cam(videozoo.compose(backbone="tiny_resnet", num_frames=4, num_classes=0), x)
    with pytest.raises(ValueError, match="an ensemble of 2 models"):
        grad_cam(videozoo.Ensemble([model, make(TSM())]), x)
    with pytest.raises(ValueError, match="got a Linear; need a model of videozoo"):
        grad_cam(torch.nn.Linear(2, 2), x)
    with pytest.raises(ValueError, match="model takes 4"):
        grad_cam(model, clips(1, 5, 48))


def test_classes_by_name_or_number() -> None:
    model = make(TSM())
    assert find_class(model, "3") == 3
    model.pretrained_cfg = {"label_names": ("walk", "run", "sit", "stand", "2")}
    assert find_class(model, "run") == 1
    assert find_class(model, "2") == 4  # a name first
    assert find_class(model, 2) == 2
    with pytest.raises(ValueError, match=r"no class 'stnd'.*nearest: 'stand'"):
        find_class(model, "stnd")
    with pytest.raises(ValueError, match="from 0 to 4"):
        find_class(model, "-1")


def test_the_patch_is_as_large_as_the_tests_assume() -> None:
    masks = patch_clips(2, seed=0)[2]
    assert masks.sum((2, 3)).unique().tolist() == [SIDE * SIDE]
