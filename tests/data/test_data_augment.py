"""Tests that augmentation is drawn once per clip."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from videozoo.data import ClipNormalizer, create_transform
from videozoo.data.augment import _NAMES, ColorJitter, RandAugment

ALL_CHANGES: list[dict[str, Any]] = [
    {"train_crop": "multiscale"},
    {"train_crop": "rrc"},
    {"train_resize": 50},
    {"train_resize": (40, 72)},
    {"color_jitter": 0.4},
    {"color_jitter": (0.4, 0.4, 0.4, 0.2)},
    {"auto_augment": "rand-m9-n2"},
    {"auto_augment": "rand-m7-n4-mstd0.5-p1-inc1", "color_jitter": 0.2, "train_resize": 48, "train_crop": "rrc"},
]


def _clip(num_frames: int = 3, height: int = 60, width: int = 80) -> Tensor:
    """Different frames, as a reader gives them."""
    pixels = torch.randint(0, 256, (num_frames, height // 4, width // 4, 3), generator=torch.Generator().manual_seed(1))
    smooth = pixels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return smooth.to(torch.uint8).permute(0, 3, 1, 2)


def _training(**options: Any) -> Any:
    return create_transform((3, 32, 32), is_training=True, normalize=False, **options)


@pytest.mark.parametrize("options", ALL_CHANGES, ids=str)
def test_equal_frames_stay_equal(options: dict[str, Any]) -> None:
    frames = _clip(1).repeat(4, 1, 1, 1)
    outcomes = set()
    for seed in range(12):
        torch.manual_seed(seed)
        video, label = _training(**options)(frames, 5)
        assert video.shape == (3, 4, 32, 32)
        assert video.dtype == torch.uint8
        assert video.is_contiguous()
        assert label == 5
        assert (video == video[:, :1]).all()
        outcomes.add(video.sum().item())
    assert len(outcomes) > 6


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("strength", [0.0, 0.9])
def test_each_operation(name: str, strength: float) -> None:
    frames = _clip()
    augment = RandAugment()
    for sign in (1, -1):
        changed = augment._apply(name, frames, strength, sign)
        assert changed.shape == frames.shape
        assert changed.dtype == torch.uint8
        same = augment._apply(name, frames[:1].repeat(3, 1, 1, 1), strength, sign)
        assert torch.equal(same[0], same[1])
        if strength:
            if name != "autocontrast":  # noise of all values has its full contrast already
                assert not torch.equal(changed, frames)
        elif name not in ("equalize", "posterize", "solarize"):
            assert (changed.int() - frames.int()).abs().max() <= 1


def test_color_statistics_are_those_of_the_clip() -> None:
    """A dark and a bright frame: alone each would be stretched to full contrast, together they are left alone."""
    frames = torch.cat([torch.full((1, 3, 8, 8), 0), torch.full((1, 3, 8, 8), 255)]).to(torch.uint8)
    frames[0, :, 0, 0], frames[1, :, 0, 0] = 40, 200
    for name in ("autocontrast", "contrast"):
        assert torch.equal(RandAugment()._apply(name, frames, 0.0, 1), frames)
    gray = torch.tensor([60, 180], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    towards_mean = RandAugment()._apply("contrast", gray, 1.0, -1)
    # 0.1 of each frame's value and 0.9 of the clip's mean, 120
    assert towards_mean[0].unique().tolist() == pytest.approx([114], abs=1)
    assert towards_mean[1].unique().tolist() == pytest.approx([126], abs=1)


def test_uncovered_pixels_become_zero() -> None:
    mean, std = (0.2, 0.4, 0.6), (0.3, 0.3, 0.3)
    for order in ("rgb", "bgr"):
        made = create_transform((3, 32, 32), is_training=True, mean=mean, std=std, channel_order=order)
        assert made.rand_augment is None
        made = create_transform(
            (3, 32, 32), is_training=True, mean=mean, std=std, channel_order=order, auto_augment="rand"
        )
        frames = _clip(2, 32, 32)
        moved = made.rand_augment._apply("x", frames, 1.0, 1)
        video = ClipNormalizer(mean, std, order)(moved.transpose(0, 1))
        assert video[..., :10].abs().max() < 1 / 255 / 0.3


def test_color_jitter_takes_the_forms_of_timm() -> None:
    assert ColorJitter.of(None) is None
    assert ColorJitter.of(0.0) is None
    assert ColorJitter.of(0.4) == ColorJitter((0.4, 0.4, 0.4, 0.0))
    assert ColorJitter.of((0.1, 0.2, 0.3)) == ColorJitter((0.1, 0.2, 0.3, 0.0))
    assert ColorJitter.of((0.1, 0.2, 0.3, 0.4)) == ColorJitter((0.1, 0.2, 0.3, 0.4))


def test_rand_augment_takes_timm_s_text() -> None:
    assert RandAugment.parse("rand-m9-n2") == RandAugment(9.0, 2)
    assert RandAugment.parse("rand") == RandAugment(10.0, 2, 0.5)
    assert RandAugment.parse("rand-n4-m7-mstd0.5-p1.0-inc1") == RandAugment(7.0, 4, 1.0, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        *("augmix-m3", "original", "rand-m11", "rand-m9-n0", "rand-m9-n1.5", "rand-p2", "rand-inc0", "rand-m9-m9"),
        *("rand-", "rand-tweights", "Rand-m9", "rand m9", "rand-m-1"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write rand-m9-n2"):
        create_transform(is_training=True, auto_augment=text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_jitter": (0.1, 0.2)}, "needs one, three or four numbers"),
        ({"color_jitter": -0.1}, "must not be negative"),
        ({"color_jitter": (0.1, 0.1, 0.1, 0.6)}, "at most 0.5"),
        ({"train_resize": 0}, "train_resize is 0"),
        ({"train_resize": (240, 320, 3)}, "must be a short side or"),
        ({"train_resize": (240, 0)}, "train_resize"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_transform(is_training=True, **options)


def test_frames_are_resized_before_the_crop() -> None:
    """With the frame's own size as the crop, the whole frame is left, squeezed as the papers do."""
    frames = torch.arange(80, dtype=torch.uint8).expand(2, 3, 40, 80)
    made = create_transform((3, 32, 32), is_training=True, normalize=False, hflip=0.0, train_resize=(32, 32))
    ends = set()
    for seed in range(20):
        torch.manual_seed(seed)
        row = made(frames)[0][0, 0, 0]
        ends.add((int(row[0]), int(row[-1])))
    assert (1, 78) in ends
    assert len(ends) > 1
    short = create_transform((3, 32, 32), is_training=True, normalize=False, hflip=0.0, train_resize=32)
    assert short(frames)[0].shape == (3, 2, 32, 32)


@settings(max_examples=40)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    options=st.sampled_from(ALL_CHANGES),
    seed=st.integers(0, 2**31),
    order=st.sampled_from(["rgb", "bgr"]),
)
def test_bytes_normalized_later_are_bit_identical(
    height: int, width: int, options: dict[str, Any], seed: int, order: str
) -> None:
    colors: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "channel_order": order}
    frames = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    normalizer = ClipNormalizer(**colors)
    torch.manual_seed(seed)
    wanted, _ = create_transform((3, 16, 16), is_training=True, **colors, **options)(frames)
    torch.manual_seed(seed)
    video, _ = create_transform((3, 16, 16), is_training=True, normalize=False, **colors, **options)(frames)
    assert video.dtype == torch.uint8
    assert torch.equal(normalizer(video), wanted)
    for crops in (1, 3, 5, 10):
        wanted = create_transform((3, 16, 16), num_crops=crops, **colors)(frames)
        views = create_transform((3, 16, 16), num_crops=crops, normalize=False, **colors)(frames)
        assert views.shape == (crops, 3, 2, 16, 16)
        assert views.is_contiguous()
        assert torch.equal(normalizer(views), wanted)


def test_five_and_ten_crops() -> None:
    frames = torch.arange(40 * 48).view(1, 1, 40, 48).remainder(251).to(torch.uint8).expand(2, 3, 40, 48)

    def views(num_crops: int) -> Tensor:
        return create_transform((3, 40, 40), crop_pct=1.0, normalize=False, num_crops=num_crops)(frames)

    five, ten = views(5), views(10)
    assert torch.equal(five[0], frames.transpose(0, 1)[..., :40])
    assert torch.equal(five[1], frames.transpose(0, 1)[..., 8:])
    assert torch.equal(five[4], views(1)[0])
    assert torch.equal(ten[:5], five)
    assert torch.equal(ten[5:], five.flip(-1))
    square = create_transform((3, 32, 32), crop_pct=0.8, normalize=False, num_crops=5)(frames)
    assert len({crop.float().mean().item() for crop in square}) == 5
