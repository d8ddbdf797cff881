"""Tests of the transforms from frames to tensors and of a model's data config."""

import dataclasses
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from videozoo.data import create_transform, parse_views, resolve_data_config
from videozoo.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from videozoo.data.views import crop_offsets, fixed_offsets, multiscale_sizes


def _frames(height: int = 60, width: int = 80, num_frames: int = 3) -> Tensor:
    return torch.randint(0, 256, (num_frames, 3, height, width), dtype=torch.uint8)


def _plain(size: int = 32, **options: Any) -> Any:
    """Without colors' mean and spread: what comes out is x / 255."""
    return create_transform((3, size, size), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **options)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (64, 64), (40, 300), (10, 12)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_center_crop_equals_timm(height: int, width: int, interpolation: str) -> None:
    frames = _frames(height, width)
    reference = v2.Compose(
        [
            v2.Resize(int(32 / 0.875), interpolation=v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(32),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )(frames)
    ours = create_transform((3, 32, 32), interpolation=interpolation)(frames)
    assert ours.shape == (1, 3, 3, 32, 32)
    torch.testing.assert_close(ours[0], reference.transpose(0, 1))


def test_not_square_input_is_covered() -> None:
    video = _plain(crop_pct=1.0)
    assert video(_frames(60, 200)).shape == (1, 3, 3, 32, 32)
    wide = create_transform((3, 32, 64), crop_pct=0.5)
    assert wide(_frames(60, 60)).shape == (1, 3, 3, 32, 64)


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32)])
def test_three_crops_lie_along_the_longer_side(height: int, width: int) -> None:
    frames = _frames(height, width)
    crops = _plain(crop_pct=1.0, num_crops=3)(frames)
    video = frames.transpose(0, 1).float() / 255
    for crop, start in zip(crops, [0, 16, 32], strict=True):
        window = video[..., start : start + 32] if width > height else video[:, :, start : start + 32]
        torch.testing.assert_close(crop, window)


def test_test_resize_gives_frames_of_exactly_that_size() -> None:
    """A picture of two halves stays one, squeezed; its center is then cut."""
    frames = torch.zeros(2, 3, 40, 100, dtype=torch.uint8)
    frames[..., 50:] = 200
    config = resolve_data_config({"input_size": (3, 24, 24), "test_resize": [30, 40]})
    crop = create_transform(**config, normalize=False)(frames)
    assert crop.shape == (1, 3, 2, 24, 24)
    assert crop[..., :8].eq(0).all()
    assert crop[..., 16:].eq(200).all()
    three = create_transform(**config, normalize=False, num_crops=3)(frames)
    assert three[0][..., 23].eq(200).all()  # the crop at the left reaches beyond the middle, at column 20 of 40
    assert resolve_data_config(config, img_size=16)["test_resize"] is None
    with pytest.raises(ValueError, match="must hold the test crop"):
        create_transform((3, 32, 32), test_resize=(30, 40))
    with pytest.raises(ValueError, match="test_resize is"):
        resolve_data_config({"test_resize": (30, 0)})


def test_test_crop_size_keeps_the_scale() -> None:
    transform = create_transform((3, 224, 224), crop_pct=0.875, test_crop_size=256, num_crops=3)
    assert transform.scale_size == (256, 256)
    assert transform.size == (256, 256)
    assert create_transform((3, 32, 32), test_crop_size=64).scale_size == (64, 64)


@pytest.mark.parametrize("train_crop", ["multiscale", "rrc"])
def test_all_frames_of_a_clip_get_the_same_crop(train_crop: str) -> None:
    frame = _frames(num_frames=1)
    video, label = _plain(is_training=True, train_crop=train_crop)(frame.repeat(4, 1, 1, 1), 3)
    assert video.shape == (3, 4, 32, 32)
    assert video.dtype == torch.float32
    assert video.is_contiguous()
    assert label == 3
    assert all(torch.equal(video[:, 0], video[:, t]) for t in range(4))


def test_multiscale_sizes_and_corners_are_tsn_s() -> None:
    sizes = multiscale_sizes(256, 340, (224, 224))
    assert set(sizes) == {
        *((256, 256), (256, 224), (224, 256), (224, 224), (224, 192)),
        *((192, 224), (192, 192), (192, 168), (168, 192), (168, 168)),
    }
    corners = fixed_offsets(256, 340, (224, 224))
    assert len(set(corners)) == 13
    assert corners[:5] == [(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)]


@given(height=st.integers(1, 50), width=st.integers(1, 50), target=st.integers(1, 40))
def test_multiscale_crops_lie_inside(height: int, width: int, target: int) -> None:
    for size in multiscale_sizes(height, width, (target, target)):
        for top, left in fixed_offsets(height, width, size):
            assert 0 <= top <= top + size[0] <= height
            assert 0 <= left <= left + size[1] <= width


def test_training_draws_come_from_torch() -> None:
    transform = _plain(is_training=True)
    frames = _frames()
    torch.manual_seed(3)
    first = transform(frames)[0]
    second = transform(frames)[0]
    torch.manual_seed(3)
    assert torch.equal(first, transform(frames)[0])
    assert not torch.equal(first, second)


def test_mirroring_changes_labels_by_the_map() -> None:
    flip_labels = {3: 4, 4: 3, 7: None}
    mirrored = _plain(64, is_training=True, hflip=1.0, flip_labels=flip_labels)
    plain = _plain(64, is_training=True, hflip=0.0)
    frames = _frames(64, 64)
    for label, wanted, is_mirrored in [(3, 4, True), (4, 3, True), (5, 5, True), (7, 7, False), (-1, -1, False)]:
        torch.manual_seed(1)
        video, got = mirrored(frames, label)
        torch.manual_seed(1)
        same, _ = plain(frames, label)
        assert got == wanted
        assert torch.equal(video, same.flip(-1) if is_mirrored else same)
    torch.manual_seed(1)
    video, got = mirrored(frames)
    assert got is None
    assert torch.equal(video, same)
    with pytest.raises(ValueError, match="sends 3 to 4 but 4 not back to 3"):
        create_transform(is_training=True, flip_labels={3: 4})


@pytest.mark.parametrize("is_training", [False, True])
def test_caffe_models_get_bgr(is_training: bool) -> None:
    frames = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 40, 40)
    made = create_transform(
        (3, 32, 32), mean=(1 / 255, 2 / 255, 3 / 255), std=(1 / 255,) * 3, channel_order="bgr", is_training=is_training
    )(frames)
    video = made[0]
    assert video.shape == (3, 2, 32, 32)
    assert video.flatten(1).mean(1).tolist() == pytest.approx([29, 18, 7], abs=1e-4)


def test_transforms_pickle() -> None:
    for transform in (create_transform(is_training=True), create_transform()):
        assert pickle.loads(pickle.dumps(transform)) == transform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": (1, 32, 32)}, "input_size"),
        ({"mean": (0.5,)}, "mean"),
        ({"std": (0.1, 0.0, 0.1)}, "std"),
        ({"interpolation": "random"}, "one of nearest, bilinear, bicubic"),
        ({"crop_pct": 1.5}, "crop_pct"),
        ({"num_crops": 2}, "num_crops is 2, must be 1, 3, 5 or 10"),
        ({"hflip": 2}, "hflip"),
        ({"train_crop": "center"}, "one of multiscale, rrc"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_transform(**options)


def test_wrong_frames() -> None:
    with pytest.raises(ValueError, match="needs uint8"):
        create_transform()(torch.zeros(3, 4, 32, 32))
    with pytest.raises(ValueError, match="does not fit"):
        crop_offsets(10, 10, (12, 8), 1)


@given(height=st.integers(1, 60), width=st.integers(1, 60), cut=st.tuples(st.integers(1, 60), st.integers(1, 60)))
@pytest.mark.parametrize(("num_crops", "num_places"), [(1, 1), (3, 3), (5, 5), (10, 5)])
def test_test_crops_lie_inside(height: int, width: int, cut: tuple[int, int], num_crops: int, num_places: int) -> None:
    size = (min(cut[0], height), min(cut[1], width))
    places = crop_offsets(height, width, size, num_crops)
    assert len(places) == num_places
    assert crop_offsets(height, width, size, 1)[0] in places
    assert all(0 <= top <= height - size[0] and 0 <= left <= width - size[1] for top, left in places)
    if num_crops >= 5:
        far = (height - size[0], width - size[1])
        assert {(0, 0), (0, far[1]), (far[0], 0), far} <= set(places)


def test_parse_views() -> None:
    assert parse_views("10x3") == (10, 3)
    assert parse_views(" 25X10 ") == (25, 10)
    assert parse_views("1x5") == (1, 5)
    for text in ["1x2", "10x4", "1x30"]:
        with pytest.raises(ValueError, match=r"crops are 1 .* 3 .* 5 .* or 10"):
            parse_views(text)
    for text in ["10", "0x3", "x", "axb", "10x3x1"]:
        with pytest.raises(ValueError, match="1x1 or 10x3"):
            parse_views(text)


def test_config_of_a_model() -> None:
    cfg = {"input_size": [3, 96, 96], "mean": (0.5,), "std": (0.1, 0.2, 0.3), "interpolation": "bicubic", "url": "x"}
    video = {"num_frames": 8, "frame_sampling": "dense", "frame_stride": 4, "test_crop_size": 128, "test_num_crops": 3}
    model = SimpleNamespace(pretrained_cfg={**cfg, **video}, num_frames=16)
    config = resolve_data_config(model)
    assert config == {
        **{"input_size": (3, 96, 96), "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.1, 0.2, 0.3)},
        **{"crop_pct": 0.875, "num_frames": 16, "frame_sampling": "dense", "frame_stride": 4, "frames_per_segment": 1},
        "channel_order": "rgb",
        **{"test_num_clips": 1, "test_num_crops": 3, "test_crop_size": 128, "test_resize": None},
    }
    assert create_transform(**config)(_frames()).shape == (3, 3, 3, 128, 128)
    assert create_transform(**config, is_training=True)(_frames())[0].shape == (3, 3, 96, 96)
    assert create_transform(**config, num_crops=1)(_frames()).shape[0] == 1
    changed = resolve_data_config(model, img_size=48, num_frames=None, mean=(0.1, 0.2, 0.3))
    assert changed["input_size"] == (3, 48, 48)
    assert changed["test_crop_size"] is None
    assert changed["mean"] == (0.1, 0.2, 0.3)
    assert changed["num_frames"] == 16


def test_config_of_a_dict_or_a_dataclass() -> None:
    @dataclasses.dataclass
    class Cfg:
        crop_pct: float = 1.0
        input_size: tuple[int, int, int] = (3, 64, 64)

    for cfg in (Cfg(), {"crop_pct": 1.0, "input_size": (3, 64, 64)}):
        config = resolve_data_config(cfg)
        assert (config["crop_pct"], config["input_size"]) == (1.0, (3, 64, 64))
    with pytest.raises(TypeError, match="needs a model with pretrained_cfg"):
        resolve_data_config("resnet50")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"frame_sampling": "center"}, "segment, dense or uniform"),
        ({"num_framse": 8}, "did you mean num_frames"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"input_size": (3, 32)}, "input_size"),
        ({"crop_pct": 0}, "crop_pct"),
        ({"test_num_crops": 2}, "test_num_crops is 2"),
        ({"interpolation": "random"}, "interpolation"),
        ({"mean": (0.1, 0.2)}, "mean"),
    ],
)
def test_config_refuses(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_data_config({}, **overrides)


def test_vertical_flips() -> None:
    """Upside down, but for the labels that are left out; none is drawn where they are off."""
    frames = _frames(32, 32)
    options = {"is_training": True, "hflip": 0.0, "train_crop": "rrc", "scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    plain, _ = _plain(**options)(frames, 0)
    flipping = _plain(**options, vflip=1.0, vflip_labels={1: None})
    assert torch.equal(flipping(frames, 0)[0], plain.flip(-2))
    assert torch.equal(flipping(frames, 1)[0], plain)
    assert torch.equal(flipping(frames, (0, 1))[0], plain)
    drawn = []
    for vflip in (0.0, 0.5):
        torch.manual_seed(0)
        _plain(is_training=True, vflip=vflip)(frames)
        drawn.append(torch.rand(()).item())
    torch.manual_seed(0)
    _plain(is_training=True)(frames)
    assert drawn[0] == torch.rand(()).item() != drawn[1]


@pytest.mark.parametrize(
    "wrong",
    [{"vflip": 1.5}, {"scale": (0.5, 0.1)}, {"scale": (0.0, 1.0)}, {"ratio": (2.0, 1.0)}, {"ratio": (0.0, 1.0)}],
)
def test_flips_and_crops_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"create_transform: {next(iter(wrong))} is "):
        create_transform(is_training=True, **wrong)
