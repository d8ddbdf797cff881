"""Transforms from uint8 frames to the input of a model, by torchvision's transforms v2."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN as IMAGENET_MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as IMAGENET_STD
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional

from videozoo.bounds import CHOICES, sides_of
from videozoo.choices import TRAIN_CROPS

from .augment import ColorJitter, RandAugment
from .normalize import ClipNormalizer
from .views import CROPS, crop_offsets, fixed_offsets, multiscale_sizes

FlipLabels = Mapping[int, int | None]
# A class index, all class indices of a clip that may have several, or None where they are not known.
Label = int | tuple[int, ...] | None
INTERPOLATIONS: tuple[str, ...] = CHOICES["interpolation"]


@dataclass(frozen=True)
class TrainTransform:
    """Resizing, random crop, mirroring and colors, normalization: the same for all frames of a clip.

    Draws come from torch's random numbers. See ``create_transform`` for the arguments. Without a normalizer bytes come
    out.

    Shape:
        uint8 (T, 3, H, W) and a label to float32 or uint8 (3, T, height, width) and the label, changed where mirroring
        does. A clip with several labels is mirrored where all of them may be.
    """

    size: tuple[int, int]
    interpolation: str
    train_crop: str
    area: tuple[float, float]
    aspect: tuple[float, float]
    hflip: float
    flip_labels: FlipLabels | None
    normalizer: ClipNormalizer | None
    resize: int | tuple[int, int] | None = None
    color_jitter: ColorJitter | None = None
    rand_augment: RandAugment | None = None
    vflip: float = 0.0
    vflip_labels: FlipLabels | None = None

    def __call__(self, frames: Tensor, label: Label = None) -> tuple[Tensor, Label]:
        _check_frames(frames)
        mode = InterpolationMode(self.interpolation)
        if self.resize is not None:
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            frames = functional.resize(frames, size, mode, antialias=True)
        top, left, height, width = self._draw_crop(frames)
        frames = functional.resized_crop(frames, top, left, height, width, list(self.size), mode, antialias=True)
        flips = [(-1, self.hflip, self.flip_labels)]
        flips += [(-2, self.vflip, self.vflip_labels)] if self.vflip else []  # else nothing is drawn
        for dim, probability, labels in flips:
            if torch.rand(()).item() < probability and _may_flip(label, labels):
                frames, label = frames.flip(dim), _flipped(label, labels)
        for change in (self.color_jitter, self.rand_augment):
            frames = frames if change is None else change(frames)
        video = frames.transpose(0, 1).contiguous()
        return (video if self.normalizer is None else self.normalizer(video)), label

    def _draw_crop(self, frames: Tensor) -> tuple[int, int, int, int]:
        """(top, left, height, width)."""
        if self.train_crop == "rrc":
            return RandomResizedCrop.get_params(frames, list(self.area), list(self.aspect))
        full_height, full_width = frames.shape[-2:]
        height, width = _choose(multiscale_sizes(full_height, full_width, self.size))
        top, left = _choose(fixed_offsets(full_height, full_width, (height, width)))
        return top, left, height, width


@dataclass(frozen=True)
class TestTransform:
    """Resize, one or several fixed crops, normalization.

    See ``create_transform`` for the arguments. ``scale_size`` is what the resized frame must just cover, or exactly its
    size where ``keeps_aspect`` is off. Without a normalizer bytes come out.

    Shape:
        uint8 (T, 3, H, W) to float32 or uint8 (num_crops, 3, T, height, width).
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    size: tuple[int, int]
    scale_size: tuple[int, int]
    interpolation: str
    num_crops: int
    normalizer: ClipNormalizer | None
    keeps_aspect: bool = True

    def __call__(self, frames: Tensor, label: Label = None) -> Tensor:
        _check_frames(frames)
        mode = InterpolationMode(self.interpolation)
        size = _covering_size(frames, self.scale_size) if self.keeps_aspect else self.scale_size
        frames = functional.resize(frames, list(size), mode, antialias=True)
        height, width = self.size
        crops = torch.stack(
            [
                frames[..., top : top + height, left : left + width].transpose(0, 1)
                for top, left in crop_offsets(frames.shape[-2], frames.shape[-1], self.size, self.num_crops)
            ]
        )
        if self.num_crops == 10:
            crops = torch.cat([crops, crops.flip(-1)])
        return crops.contiguous() if self.normalizer is None else self.normalizer(crops)


def create_transform(
    input_size: tuple[int, int, int] = (3, 224, 224),
    *,
    is_training: bool = False,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    channel_order: str = "rgb",
    interpolation: str = "bilinear",
    crop_pct: float = 0.875,
    num_crops: int | None = None,
    hflip: float = 0.5,
    flip_labels: FlipLabels | None = None,
    vflip: float = 0.0,
    vflip_labels: FlipLabels | None = None,
    train_crop: str = "multiscale",
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    train_resize: int | tuple[int, int] | None = None,
    color_jitter: float | tuple[float, ...] | None = None,
    auto_augment: str | None = None,
    normalize: bool = True,
    test_num_crops: int | None = None,
    test_crop_size: int | tuple[int, int] | None = None,
    test_resize: tuple[int, int] | None = None,
    num_frames: int | None = None,
    frame_sampling: str | None = None,
    frame_stride: int | None = None,
    frames_per_segment: int | None = None,
    test_num_clips: int | None = None,
) -> TrainTransform | TestTransform:
    """Create the transform of a clip, with timm's names.

    The usual call is ``create_transform(**resolve_data_config(model))``.

    Training: a random crop resized to the input size, then a horizontal flip, then colors, all drawn once per clip.
    Testing: the short side is resized to ``floor(input_size / crop_pct)`` (never less than the crop), then cropped. The
    colors become (x / 255 - mean) / std.

    Args:
        input_size: (3, height, width).
        is_training: make the transform for training, else for testing.
        mean, std: per channel in the order of the model, of values in [0, 1].
        channel_order: ``rgb``, or ``bgr`` for models whose weights come from Caffe.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``, antialiased.
        crop_pct: in (0, 1], the side of the test crop over the short side of the resized frame.
        num_crops: test crops, by default ``test_num_crops``, else 1. 1: the center. 3: along the longer side. 5: the
            corners and the center. 10: those and their horizontal flips (TSN's, one-sided classes are flipped like all
            others).
        hflip: probability of a horizontal flip in training.
        flip_labels: label to the label of the flipped clip, such as ``{3: 4, 4: 3}``. A value of None means that the
            class is never flipped, such as ``{7: None}``. Labels not in it keep their meaning. If it is given, clips
            without a label (None or -1) are not flipped.
        vflip, vflip_labels: the same for vertical flips, which are off by default.
        train_crop: ``multiscale``: TSN's sides (1, 0.875, 0.75, 0.66 of the short side) at 13 fixed corners. ``rrc``: a
            random area and aspect ratio.
        scale, ratio: for ``rrc``: range of the area, as a fraction of the frame, and of width / height.
        train_resize: size that frames are resized to before the random crop: their short side, or (height, width).
        color_jitter: as in timm: largest change of brightness, contrast and saturation, or of each and of hue.
        auto_augment: RandAugment in timm's form, such as ``rand-m9-n2``, see ``RandAugment.parse``.
        normalize: False keeps colors as RGB bytes, for a ``ClipNormalizer`` on the model's device.
        test_crop_size: crop in testing if it is not the input size, an int or (height, width).
        test_resize: (height, width) that frames are resized to before the test crop, whatever their aspect ratio, in
            place of ``crop_pct``.
        num_frames, frame_sampling, frame_stride, frames_per_segment, test_num_clips: keys of the data config that are
            not used here.
    Raises:
        ValueError: a value out of range.
    Example:
        >>> import torch
        >>> from videozoo import create_transform
        >>> frames = torch.zeros(8, 3, 120, 160, dtype=torch.uint8)  # (T, 3, H, W)
        >>> video, label = create_transform(input_size=(3, 112, 112), is_training=True)(frames, 5)
        >>> video.shape, video.dtype, label
        (torch.Size([3, 8, 112, 112]), torch.float32, 5)
        >>> create_transform(input_size=(3, 112, 112), num_crops=3)(frames).shape  # a crop each
        torch.Size([3, 3, 8, 112, 112])
    """
    is_size = isinstance(input_size, Sequence) and len(input_size) == 3 and input_size[0] == 3 and min(input_size) >= 1
    _require(is_size, "input_size", input_size, "(3, height, width), as videos have three channels")
    size = sides_of(input_size)
    crops = num_crops if num_crops is not None else test_num_crops if test_num_crops is not None else 1
    _require(interpolation in INTERPOLATIONS, "interpolation", interpolation, f"one of {', '.join(INTERPOLATIONS)}")
    _require(0 < crop_pct <= 1, "crop_pct", crop_pct, "in (0, 1]")
    _require(crops in CROPS, "num_crops", crops, "1, 3, 5 or 10")
    _require(0 <= hflip <= 1, "hflip", hflip, "in [0, 1]")
    _require(0 <= vflip <= 1, "vflip", vflip, "in [0, 1]")
    _require(0 < scale[0] <= scale[1] <= 1, "scale", scale, "(least, most), both in (0, 1]")
    _require(0 < ratio[0] <= ratio[1], "ratio", ratio, "(least, most), both above 0")
    _require(train_crop in TRAIN_CROPS, "train_crop", train_crop, f"one of {', '.join(TRAIN_CROPS)}")
    normalizer = ClipNormalizer(tuple(mean), tuple(std), channel_order)
    if is_training:
        _check_flip_labels(flip_labels, "flip_labels")
        _check_flip_labels(vflip_labels, "vflip_labels")
        # Turning and shifting uncover what is around the frame: the color that becomes 0.
        fill = tuple(255 * value for value in (mean if channel_order == "rgb" else mean[::-1]))
        return TrainTransform(
            size=size,
            interpolation=interpolation,
            train_crop=train_crop,
            area=scale,
            aspect=ratio,
            hflip=hflip,
            flip_labels=flip_labels,
            normalizer=normalizer if normalize else None,
            resize=_resize_size(train_resize),
            color_jitter=ColorJitter.of(color_jitter),
            rand_augment=RandAugment.parse(auto_augment, fill) if auto_augment else None,
            vflip=vflip,
            vflip_labels=vflip_labels,
        )
    crop = size if test_crop_size is None else sides_of(test_crop_size)
    if test_resize is None:
        height, width = (max(math.floor(side / crop_pct), cut) for side, cut in zip(size, crop, strict=True))
    else:
        height, width = test_resize
        if height < crop[0] or width < crop[1]:
            raise ValueError(f"create_transform: test_resize is {test_resize}, must hold the test crop {crop}.")
    kept = normalizer if normalize else None
    return TestTransform(crop, (height, width), interpolation, crops, kept, keeps_aspect=test_resize is None)


def _flipped(label: Label, flips: FlipLabels | None) -> Label:
    flips = flips or {}
    if isinstance(label, tuple):
        return tuple(one if (mirrored := flips.get(one, one)) is None else mirrored for one in label)
    return flips.get(label, label) if label is not None else None


def _may_flip(label: Label, flips: FlipLabels | None) -> bool:
    if flips is None:
        return True
    # Without its label a clip of a set that has one-sided classes is left alone.
    if label is None or label == -1:
        return False
    labels = label if isinstance(label, tuple) else (label,)
    return all(flips.get(one, one) is not None for one in labels)


def _choose(options: list[tuple[int, int]]) -> tuple[int, int]:
    return options[int(torch.randint(len(options), ()))]


def _covering_size(frames: Tensor, scale_size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest size of the frames' aspect ratio that covers ``scale_size``.

    The other side is rounded down.
    """
    height, width = frames.shape[-2:]
    want_height, want_width = scale_size
    if want_height * width >= want_width * height:
        return want_height, max(want_height * width // height, want_width)
    return max(want_width * height // width, want_height), want_width


def _resize_size(size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    sides = (size,) if isinstance(size, int) else tuple(size or (1,))
    is_size = len(sides) <= 2 and all(isinstance(side, int) and side >= 1 for side in sides)
    _require(is_size, "train_resize", size, "a short side or (height, width)")
    return size if size is None or isinstance(size, int) else (sides[0], sides[-1])


def _check_frames(frames: Tensor) -> None:
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise ValueError(
            f"transform: got {frames.dtype} {tuple(frames.shape)}, needs uint8 (T, 3, H, W); pass read_frames' result."
        )


def _require(is_fine: bool, name: str, value: object, needed: str) -> None:
    if not is_fine:
        raise ValueError(f"create_transform: {name} is {value!r}, must be {needed}.")


def _check_flip_labels(flip_labels: FlipLabels | None, name: str) -> None:
    for label, mirror in (flip_labels or {}).items():
        if mirror is not None and (flip_labels or {}).get(mirror, mirror) != label:
            raise ValueError(
                f"create_transform: {name} sends {label} to {mirror} but {mirror} not back to {label}; "
                f"a double flip must give the same label, so pass both, {{{label}: {mirror}, {mirror}: {label}}}."
            )
