"""Config of a model's videos: timm's pretrained config and the fields of time."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from timm.models import PretrainedCfg

from videozoo.bounds import check_fields, check_work
from videozoo.names import clean_names
from videozoo.version import __version__

__all__ = ["OF_CLASSES", "VideoCfg", "class_names", "forget_classes", "merge_cfg", "stored_cfg"]

# What a config says of the classes that the weights were trained on; it goes with them.
OF_CLASSES = (
    *("label_names", "label_descriptions", "label_offset", "multi_label", "metrics", "dataset", "train_recipe", "tag"),
)

# Where weights are: a config that comes with its weights has no say in that.
_PLACES = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "custom_load", "sha256_prefix")


@dataclass
class VideoCfg(PretrainedCfg):
    """Config of a model's videos and weights: timm's ``PretrainedCfg`` with the fields of frames and of testing.

    ``frame_sampling`` is ``"segment"``, ``"dense"`` or ``"uniform"``. ``frame_stride`` counts frames of the video and
    is used by ``"dense"`` only. A test takes ``test_num_clips x test_num_crops`` views, whose scores are averaged.
    ``test_resize`` is the (height, width) of frames before the crop. With None it follows from ``crop_pct``. With
    ``multi_label`` a video may have several classes, each with its own probability (the sigmoid of its logit).
    ``sha256_prefix`` is the beginning of the SHA-256 of the file at ``url``. With ``hf_hub_id`` as well it is the file
    of another library's repository, and is converted. ``train_recipe`` and ``decoder`` describe in words how the
    weights were trained and what decoded their videos. ``newer_fields`` are fields of a config that a newer version
    wrote. :meth:`to_dict` puts them among the others.

    Example:
        >>> from videozoo import VideoCfg
        >>> cfg = VideoCfg(num_classes=174, num_frames=16, test_num_clips=2, test_num_crops=3)
        >>> cfg.to_dict()["num_frames"]
        16
    """

    num_classes: int = 400
    interpolation: str = "bilinear"
    channel_order: str = "rgb"
    num_frames: int = 8
    frame_sampling: str = "segment"
    frame_stride: int = 1
    test_num_clips: int = 1
    test_num_crops: int = 1
    test_crop_size: int | None = None
    test_resize: tuple[int, int] | None = None
    multi_label: bool | None = None
    metrics: dict[str, float] | None = None
    dataset: str | None = None
    train_recipe: str | None = None
    decoder: str | None = None
    sha256_prefix: str | None = None
    newer_fields: dict[str, Any] | None = None

    def to_dict(self, remove_source: bool = False, remove_null: bool = True) -> dict[str, Any]:
        """Return all fields as plain data, without the address of the weights if ``remove_source``."""
        values: dict[str, Any] = super().to_dict(remove_source, remove_null)
        if remove_source:
            values.pop("sha256_prefix", None)
        values.pop("newer_fields", None)
        return {**(self.newer_fields or {}), **values}


def merge_cfg(base: VideoCfg, *overlays: Mapping[str, Any] | PretrainedCfg | None) -> VideoCfg:
    """Return ``base`` with the fields of each overlay on top.

    The last one wins.

    Raises:
        ValueError: an overlay has a field that the config does not have.
    """
    values = {f.name: getattr(base, f.name) for f in fields(base)}
    for overlay in overlays:
        if overlay is None:
            continue
        row = overlay if isinstance(overlay, Mapping) else vars(overlay)
        unknown = sorted(set(row) - set(values))
        if unknown:
            raise ValueError(f"pretrained_cfg: unknown fields {unknown}; known are {sorted(values)}.")
        values.update(row)
    for name in ("input_size", "test_input_size", "mean", "std", "label_names", "test_resize"):
        if isinstance(values[name], list):  # JSON has no tuples
            values[name] = tuple(values[name])
    return VideoCfg(**values)


def stored_cfg(row: Mapping[str, Any], source: str) -> VideoCfg:
    """Read the ``pretrained_cfg`` of a ``config.json``.

    Unknown fields are kept, with a warning.

    Args:
        row: the fields. Those with the address of the weights are dropped.
        source: name of the source, for the warning.
    Raises:
        ValueError: a value of the wrong type or out of range.
    """
    row = {name: value for name, value in row.items() if name not in _PLACES}
    known = {f.name for f in fields(VideoCfg)} - {"newer_fields"}
    newer = {name: value for name, value in row.items() if name not in known}
    if newer:
        warnings.warn(
            f"{source}: config.json has fields that videozoo {__version__} does not know ({', '.join(sorted(newer))}), "
            "as of a newer version; they are kept and do nothing.",
            stacklevel=2,
        )
    cfg = merge_cfg(VideoCfg(newer_fields=newer or None), {k: v for k, v in row.items() if k in known})
    _check(cfg)
    return cfg


def _check(cfg: VideoCfg) -> None:
    check_fields(vars(cfg))
    check_work(vars(cfg))
    names: Any = cfg.label_names
    if names is None:
        return
    if not isinstance(names, tuple) or len(names) != cfg.num_classes:
        raise ValueError(f"label_names must be a list of {cfg.num_classes} names")
    clean_names(names, "label_names")


def class_names(cfg: Mapping[str, Any], num_classes: int) -> list[str]:
    """Return the class names of a model, ``class K`` if its config has none."""
    return list(cfg.get("label_names") or (f"class {k}" for k in range(num_classes)))


def forget_classes(cfg: dict[str, Any], num_classes: int) -> dict[str, Any]:
    """Return a config without its class names, for a new classifier."""
    kept = {k: v for k, v in cfg.items() if k not in OF_CLASSES}
    return {**kept, "num_classes": num_classes} if kept else kept
