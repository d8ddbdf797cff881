"""The one table of what a model's config may ask for.

Configs of the Hub, of ONNX files and of flags are checked by it.

A config from elsewhere must not make a reader ask for all memory, and what is wrong with it must not look like a fault
of the video.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["CHOICES", "COUNTS", "NUMBERS", "SIDE", "check_fields", "check_options", "check_work", "sides_of"]

SIDE = 4096
# Whole numbers, least and most. Those below `test_num_clips` are options of temporal modules and augmenters.
COUNTS = {
    **{"num_classes": (0, 100_000), "in_chans": (1, 64), "num_frames": (1, 4096), "frame_stride": (1, 10_000)},
    "img_size": (1, SIDE),
    **{"frames_per_segment": (1, 64), "test_num_clips": (1, 1000)},
    **{"num_steps": (1, 64), "shift_div": (1, 4096), "reach": (0, 64), "hidden": (1, 65_536), "depth": (1, 16)},
    **{"reduction": (1, 4096), "ct_group_frames": (1, 4096), "cl_distance": (1, 4096)},
}
NUMBERS = {"crop_pct": (0.1, 1.0), "drop_rate": (0.0, 1.0), "drop_path_rate": (0.0, 1.0)}
_CHANNELS = {"mean": (-1e6, 1e6), "std": (1e-6, 1e6)}  # of 1 or 3 channels
CHOICES: dict[str, tuple[Any, ...]] = {
    "interpolation": ("nearest", "bilinear", "bicubic"),
    "channel_order": ("rgb", "bgr"),
    "frame_sampling": ("segment", "dense", "uniform"),
    "multi_label": (False, True),
    "test_num_crops": (1, 3, 5, 10),  # the center; along the longer side; corners and center; those and their mirrors
}
_OPTIONAL = ("test_crop_size", "test_resize", "multi_label")
# Pixels of all frames of a test of one video: 30 views of 64 frames of 747x747, as an example. 3.2 GB as bytes.
_MOST_PIXELS = 2**30


def check_fields(config: Mapping[str, Any]) -> None:
    """Refuse a field of a config that has another type than it must have, or is out of range.

    Unknown fields may stay.

    Args:
        config: fields by name, lists or tuples alike. ``test_crop_size``, ``test_resize`` and
            ``multi_label`` may be None.
    Raises:
        ValueError: names the field, its value and what it must be.
    """
    for name, value in config.items():
        rule = _RULES.get(name)
        if rule is not None and not (value is None and name in _OPTIONAL):
            needed = rule(name, value)
            if needed:
                shown = repr(value)
                raise ValueError(f"{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}, must be {needed}")


def check_options(part: Mapping[str, Any]) -> None:
    """Refuse options of a temporal module or augmenter that are out of range.

    Raises:
        ValueError: names the option, its value and what it must be.
    """
    counts = {name: value for name, value in part.items() if name in COUNTS and value is not None}
    try:
        check_fields(counts)
    except ValueError as error:
        raise ValueError(f"{part.get('name')}: {error}") from error


def check_work(config: Mapping[str, Any]) -> None:
    """Refuse a config by which a test of one video would take too much memory, although each field is in range.

    Args:
        config: a whole one, whose fields ``check_fields`` has passed.
    Raises:
        ValueError: says what makes it large.
    """
    _, height, width = config["input_size"]
    crop = config.get("test_crop_size")
    if crop is not None:
        height, width = sides_of(crop)
    resize = config.get("test_resize") or [side / config["crop_pct"] for side in (height, width)]
    clips, crops, frames = config["test_num_clips"], config["test_num_crops"], config["num_frames"]
    pixels = clips * frames * max(math.prod(resize), crops * height * width)
    if pixels > _MOST_PIXELS:
        raise ValueError(
            f"{clips}x{crops} views of {frames} frames of {height}x{width} (crop_pct {config['crop_pct']:g}) are "
            f"{pixels / 1e9:.3g} billion pixels a video, must be at most {_MOST_PIXELS / 1e9:.2g}"
        )


def sides_of(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of a size: one number for both, (height, width) or (channels, height, width)."""
    height, width = (size, size) if isinstance(size, int) else size[-2:]
    return int(height), int(width)


def _count(name: str, value: Any) -> str:
    least, most = COUNTS[name]
    return "" if type(value) is int and least <= value <= most else f"a whole number from {least} to {most}"


def _number(name: str, value: Any) -> str:
    least, most = NUMBERS[name]
    return "" if _is_number(value) and least <= value <= most else f"a number in [{least:g}, {most:g}]"


def _channels(name: str, value: Any) -> str:
    least, most = _CHANNELS[name]
    is_fine = isinstance(value, list | tuple) and len(value) in (1, 3)
    is_fine = is_fine and all(_is_number(x) and least <= x <= most for x in value)
    return "" if is_fine else f"three numbers, one a channel, from {least:g} to {most:g}"


def _choice(name: str, value: Any) -> str:
    *others, last = CHOICES[name]
    fits = any(type(value) is type(choice) and value == choice for choice in CHOICES[name])
    return "" if fits else f"{', '.join(map(str, others))} or {last}"


def _size(name: str, value: Any) -> str:
    sides = list(value) if isinstance(value, list | tuple) else [value]
    are_sides = all(type(side) is int and 1 <= side <= SIDE for side in sides)
    if name == "input_size":
        return "" if are_sides and len(sides) == 3 else f"(channels, height, width), each from 1 to {SIDE}"
    if name == "test_resize":
        return "" if are_sides and len(sides) == 2 else f"(height, width), each from 1 to {SIDE}"
    return "" if are_sides and len(sides) in (1, 2, 3) else f"a whole number from 1 to {SIDE}, or (height, width)"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_RULES: dict[str, Callable[[str, Any], str]] = {
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(_CHANNELS, _channels),
    **dict.fromkeys(CHOICES, _choice),
    **dict.fromkeys(("input_size", "test_crop_size", "test_resize"), _size),
}
