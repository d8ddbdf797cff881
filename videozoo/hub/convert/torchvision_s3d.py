"""torchvision's S3D."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted
from videozoo.hub.convert.s3d import converted_s3d, s3d_rules

__all__ = ["convert", "matches"]

SOURCE = "torchvision's S3D"
_RULES = [
    *s3d_rules(r"features\.", "", ("0", "1"), (r"0\.0", r"0\.1", r"1\.0", r"1\.1")),
    (r"classifier\.1", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of ``torchvision.models.video.s3d``."""
    return "features.0.0.0.weight" in state and "features.15.branch1.1.1.0.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Its classifier, a convolution of kernel 1, becomes a linear map. 128 frames are assumed, as torchvision's weights
    were evaluated.

    Raises:
        ConvertError: a key has no place.
    """
    cfg = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
    return converted_s3d(state, _RULES, SOURCE, 128, cfg)
