"""What a network expects of its videos: timm's pretrained config and the fields that time adds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from timm.models import PretrainedCfg

__all__ = ["VideoCfg", "merge_cfg"]


@dataclass
class VideoCfg(PretrainedCfg):
    """timm's ``PretrainedCfg`` with how frames are taken and how a video is tested.

    ``frame_sampling`` is ``"segment"``, ``"dense"`` or ``"uniform"``; ``frame_stride`` counts source frames and
    matters for ``"dense"`` only. A test takes ``test_num_clips x test_num_crops`` views, whose scores are averaged.
    ``sha256_prefix`` is what the SHA-256 of the file at ``url`` starts with.
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
    metrics: dict[str, float] | None = None
    dataset: str | None = None
    sha256_prefix: str | None = None

    def to_dict(self, remove_source: bool = False, remove_null: bool = True) -> dict[str, Any]:
        """All fields as plain data; ``remove_source`` leaves out where the weights are."""
        values: dict[str, Any] = super().to_dict(remove_source, remove_null)
        if remove_source:
            values.pop("sha256_prefix", None)
        return values


def merge_cfg(base: VideoCfg, *overlays: Mapping[str, Any] | PretrainedCfg | None) -> VideoCfg:
    """``base`` with the fields of each overlay put over it, the last one winning.

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
    for name in ("input_size", "test_input_size", "mean", "std", "label_names"):
        if isinstance(values[name], list):  # JSON has no tuples
            values[name] = tuple(values[name])
    return VideoCfg(**values)
