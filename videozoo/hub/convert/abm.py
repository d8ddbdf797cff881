"""Implanted ABM (``iabp``) of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "ABM authors"
_RULES = [
    (r"(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (r"(layer\d\.\d+)\.conv[12]_abp", r"backbone.\1.factor"),
    (r"fc2", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' implanted ABM."""
    return any(f"layer2.1.{conv}_abp.weight" in state for conv in ("conv1", "conv2"))


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The frames per segment are read from the first convolution. The number of segments cannot be read from the keys: 8
    are assumed on ResNet-18, and 16, as in the authors' scripts, on deeper ones.

    Raises:
        ConvertError: a key has no place, or the first convolution does not take color frames.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    backbone = resnet_name(new, SOURCE)
    frames, rest = divmod(new["backbone.conv1.weight"].shape[1], 3)
    if rest:
        raise ConvertError(f"{SOURCE}: the first convolution takes {3 * frames + rest} channels, no color frames.")
    segments = 8 if backbone == "resnet18" else 16
    return compose(new, dropped, backbone, {"name": "abm", "frames_per_segment": frames}, frames * segments)
