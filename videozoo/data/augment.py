"""Changes of color and shape in training, drawn once a clip: all its frames are changed alike."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

MAX_MAGNITUDE = 10.0


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, by torchvision, the same for all frames of a clip.

    Args:
        amounts: largest change of brightness, contrast, saturation (each 0 or more) and hue (at most 0.5).
    Shape:
        uint8 (T, 3, H, W) to the same.
    Raises:
        ValueError: an amount out of range.
    """

    amounts: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        if min(self.amounts) < 0 or self.amounts[3] > 0.5:
            raise ValueError(f"ColorJitter: {self.amounts} must not be negative, the last (hue) at most 0.5.")

    @classmethod
    def of(cls, amounts: float | tuple[float, ...] | None) -> Self | None:
        """Read timm's forms: one number for brightness, contrast and saturation, or three or four numbers.

        0: none.

        Raises:
            ValueError: another number of numbers.
        """
        if not amounts:
            return None
        given = (amounts,) * 3 if isinstance(amounts, int | float) else tuple(amounts)
        if len(given) not in (3, 4):
            raise ValueError(f"color_jitter: got {amounts}, needs one, three or four numbers.")
        return cls((given[0], given[1], given[2], given[3] if len(given) == 4 else 0.0))

    def __call__(self, frames: Tensor) -> Tensor:
        return _as_one_image(frames, v2.ColorJitter(*self.amounts))


@dataclass(frozen=True)
class RandAugment:
    """Random operations on a clip (Cubuk et al., 2019, arXiv:1909.13719), by torchvision's functions.

    Each of ``num_ops`` draws one of 13 operations of AutoAugment's space and applies it with probability ``prob``. What
    an operation takes from the picture (its mean, histogram, darkest and brightest value) it takes from the whole clip,
    so that nothing flickers.

    Args:
        magnitude: strength, 0 to 10. Every operation changes more the higher it is.
        num_ops: operations in a row.
        prob: of each.
        magnitude_std: spread of a normal deviation of the strength, drawn for each operation.
        fill: color of what a geometric operation uncovers, RGB bytes.
    Shape:
        uint8 (T, 3, H, W) to the same.
    """

    magnitude: float = 10.0
    num_ops: int = 2
    prob: float = 0.5
    magnitude_std: float = 0.0
    fill: tuple[float, ...] = (128.0, 128.0, 128.0)

    @classmethod
    def parse(cls, text: str, fill: tuple[float, ...] = (128.0, 128.0, 128.0)) -> Self:
        """Read timm's ``rand-m9-n2``, with ``-p0.5``, ``-mstd0.5`` and ``-inc1``.

        Raises:
            ValueError: another text, or a number out of range.
        """
        head, *parts = text.split("-")
        found = [re.fullmatch(r"(mstd|inc|m|n|p)([0-9]+(?:\.[0-9]+)?)", part) for part in parts]
        values = {match[1]: float(match[2]) for match in found if match}
        is_fine = head == "rand" and all(found) and len(values) == len(parts)
        num_ops = values.get("n", 2.0)
        made = cls(values.get("m", MAX_MAGNITUDE), int(num_ops), values.get("p", 0.5), values.get("mstd", 0.0), fill)
        is_fine &= made.magnitude <= MAX_MAGNITUDE and num_ops == made.num_ops >= 1 and made.prob <= 1
        if not is_fine or values.get("inc", 1.0) != 1.0:
            raise ValueError(
                f"auto_augment: got {text!r}; write rand-m9-n2: m is the magnitude from 0 to {MAX_MAGNITUDE:g}, n the "
                "number of operations; may be added: -p0.5 (probability of each), -mstd0.5 (spread of the magnitude), "
                "-inc1 (always so: a higher magnitude changes more)."
            )
        return made

    def __call__(self, frames: Tensor) -> Tensor:
        for _ in range(self.num_ops):
            name = _NAMES[int(torch.randint(len(_NAMES), ()))]
            is_applied = torch.rand(()).item() < self.prob
            deviation = torch.randn(()).item() * self.magnitude_std
            sign = 1 if torch.rand(()).item() < 0.5 else -1
            strength = min(max(self.magnitude + deviation, 0.0), MAX_MAGNITUDE) / MAX_MAGNITUDE
            if is_applied:
                frames = self._apply(name, frames, strength, sign)
        return frames

    def _apply(self, name: str, frames: Tensor, strength: float, sign: int) -> Tensor:
        if name in _COLOR_OPS:
            return _as_one_image(frames, lambda image: _COLOR_OPS[name](image, strength, sign))
        if name == "sharpness":
            return functional.adjust_sharpness(frames, 1 + sign * 0.9 * strength)
        height, width = frames.shape[-2:]
        moves = {"angle": 0.0, "x": 0.0, "y": 0.0, "shear_x": 0.0, "shear_y": 0.0}
        moves[name] = sign * _GEOMETRIC_OPS[name] * strength
        return functional.affine(
            frames,
            angle=moves["angle"],
            translate=[round(moves["x"] * width), round(moves["y"] * height)],
            scale=1.0,
            shear=[math.degrees(math.atan(moves["shear_x"])), math.degrees(math.atan(moves["shear_y"]))],
            interpolation=InterpolationMode.BILINEAR,
            fill=list(self.fill),
        )


# Strengths at the highest magnitude are those of torchvision's RandAugment.
_COLOR_OPS: dict[str, Callable[[Tensor, float, int], Tensor]] = {
    "brightness": lambda image, s, sign: functional.adjust_brightness(image, 1 + sign * 0.9 * s),
    "saturation": lambda image, s, sign: functional.adjust_saturation(image, 1 + sign * 0.9 * s),
    "contrast": lambda image, s, sign: functional.adjust_contrast(image, 1 + sign * 0.9 * s),
    "posterize": lambda image, s, _: functional.posterize(image, bits=8 - round(4 * s)),
    "solarize": lambda image, s, _: functional.solarize(image, threshold=255 * (1 - s)),
    "autocontrast": lambda image, _s, _: functional.autocontrast(image),
    "equalize": lambda image, _s, _: functional.equalize(image),
}
# Degrees; fractions of the side; tangents.
_GEOMETRIC_OPS = {"angle": 30.0, "x": 150 / 331, "y": 150 / 331, "shear_x": 0.3, "shear_y": 0.3}
_NAMES = (*_COLOR_OPS, "sharpness", *_GEOMETRIC_OPS)


def _as_one_image(frames: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change all frames as one tall picture, so that what is measured in it is the clip's."""
    t, c, h, w = frames.shape
    return change(frames.transpose(0, 1).reshape(c, t * h, w)).reshape(c, t, h, w).transpose(0, 1)
