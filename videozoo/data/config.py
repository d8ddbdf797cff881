"""Data configs: the frames, size and colors that a model expects of its videos, with timm's names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from videozoo.bounds import check_fields, check_work, sides_of
from videozoo.text import near_names

from .transforms import IMAGENET_MEAN, IMAGENET_STD

DATA_DEFAULTS: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "interpolation": "bilinear",
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "channel_order": "rgb",
    "crop_pct": 0.875,
    "num_frames": 8,
    "frame_sampling": "segment",
    "frame_stride": 1,
    "frames_per_segment": 1,
    "test_num_clips": 1,
    "test_num_crops": 1,
    "test_crop_size": None,
    "test_resize": None,
}


def test_size_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that a settled config cuts the frames of a test to."""
    return sides_of(config["test_crop_size"] or config["input_size"])


def resolve_data_config(model_or_cfg: Any, **overrides: Any) -> dict[str, Any]:
    """Return how videos are sampled and transformed for a model.

    The values are taken from ``overrides``, then from the model's own numbers of frames, from its ``pretrained_cfg``,
    and from the defaults (``DATA_DEFAULTS``). None counts as not given. If you override the input size, the test crop
    gets the same size unless you override it too.

    Args:
        model_or_cfg: a model with ``pretrained_cfg``, or such a config itself (mapping or dataclass).
        overrides: any key of the result, and ``img_size``, an int or (height, width), for ``input_size``.
    Returns:
        dict with input_size (3, H, W), interpolation, mean, std, channel_order, crop_pct, num_frames, frame_sampling,
            frame_stride, frames_per_segment, test_num_clips, test_num_crops, test_crop_size, test_resize.
            ``create_transform`` takes it as keywords.
    Raises:
        ValueError: an unknown key or sampling, or a value out of range.
        TypeError: ``model_or_cfg`` has no config.
    Example:
        >>> from videozoo import create_model, create_transform
        >>> from videozoo.data import resolve_data_config
        >>> config = resolve_data_config(create_model("tsm_r18"), img_size=112)
        >>> config["input_size"], config["num_frames"], config["frame_sampling"]
        ((3, 112, 112), 8, 'segment')
        >>> transform = create_transform(**config, is_training=True)
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    for key in overrides:
        if key not in DATA_DEFAULTS and key != "img_size":
            keys = [*DATA_DEFAULTS, "img_size"]
            hint = near_names(key, keys, "did you mean {}?", most=1) or f"choose from {', '.join(keys)}."
            raise ValueError(f"resolve_data_config: unknown key {key!r}; {hint}")
    if "img_size" in given:
        given.setdefault("input_size", (3, *sides_of(given.pop("img_size"))))
    cfg = _config_of(model_or_cfg)
    for key, attribute in (("num_frames", "num_frames"), ("frames_per_segment", "frames_in_a_row")):
        own = getattr(model_or_cfg, attribute, None)
        if isinstance(own, int):
            cfg[key] = own
    if "input_size" in given:
        cfg = {key: value for key, value in cfg.items() if key not in ("test_crop_size", "test_resize")}
    known = {key: cfg[key] for key in DATA_DEFAULTS if cfg.get(key) is not None}
    return _checked({**DATA_DEFAULTS, **known, **given})


def sampling_options(config: Mapping[str, Any], is_training: bool = False) -> dict[str, Any]:
    """Return the part of a data config that ``VideoDataset`` takes as keywords.

    ``create_transform`` takes all of the config.

    Args:
        config: from ``resolve_data_config``.
        is_training: one clip per video, instead of those of a test.
    Example:
        >>> from videozoo import get_pretrained_cfg
        >>> from videozoo.data import resolve_data_config, sampling_options
        >>> options = sampling_options(resolve_data_config(get_pretrained_cfg("tsm_r50")), is_training=True)
        >>> options["num_frames"], options["sampling"], options["num_clips"]
        (8, 'segment', 1)
    """
    return {
        "num_frames": config["num_frames"],
        "sampling": config["frame_sampling"],
        "frame_stride": config["frame_stride"],
        "frames_per_segment": config["frames_per_segment"],
        "num_clips": 1 if is_training else config["test_num_clips"],
        "is_training": is_training,
    }


def _config_of(model_or_cfg: Any) -> dict[str, Any]:
    cfg = getattr(model_or_cfg, "pretrained_cfg", model_or_cfg)
    if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
        return {field.name: getattr(cfg, field.name) for field in dataclasses.fields(cfg)}
    if not isinstance(cfg, Mapping):
        raise TypeError(
            f"resolve_data_config: got {type(model_or_cfg).__name__}, needs a model with pretrained_cfg or a dict."
        )
    return dict(cfg)


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    try:
        check_fields(config)
        check_work(config)
    except ValueError as error:
        raise ValueError(f"resolve_data_config: {error}.") from error
    if config["input_size"][0] != 3:
        raise ValueError(f"resolve_data_config: input_size is {config['input_size']!r}, must be (3, height, width).")
    for key in ("input_size", "mean", "std", "test_resize"):
        config[key] = config[key] and tuple(config[key])
    for key in ("mean", "std"):
        if len(config[key]) == 1:
            config[key] *= 3
    crop = config["test_crop_size"]
    if crop is not None and not isinstance(crop, int):
        config["test_crop_size"] = sides_of(crop)
    return config
