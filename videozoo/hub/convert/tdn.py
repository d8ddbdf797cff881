"""TDN of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name
from videozoo.hub.convert.tea import EXCITE

__all__ = ["convert", "matches"]

SOURCE = "TDN authors"
_DIFFERENCE = {
    **EXCITE,
    "conv3_smallscale2": "pooled",
    "bn3_smallscale2": "pooled_norm",
    "conv3_smallscale4": "full",
    "bn3_smallscale4": "full_norm",
}
_BLOCK = r"base_model\.(layer\d)_bak\.(\d+)"
_PARTS = r"((?:conv|bn)\d|downsample\.[01])"
_RULES = [
    (r"base_model\.conv1_temp", ""),  # registered by the authors, never used
    (r"base_model\.(conv1|bn1)", r"backbone.\1"),
    (r"base_model\.conv1_5\.0", "backbone.diff_stem.1"),
    (r"base_model\.conv1_5\.1", "backbone.diff_stem.2"),
    (rf"base_model\.resnext_layer1\.(\d+)\.{_PARTS}", r"backbone.diff_layer1.\1.\2"),
    (rf"{_BLOCK}\.{_PARTS}", r"backbone.\1.\2.\3"),
    (rf"{_BLOCK}\.shift\.conv", r"backbone.\1.\2.conv2.pre.shift"),
    *((rf"{_BLOCK}\.mse\.{old}", rf"backbone.\1.\2.conv2.pre.difference.{name}") for old, name in _DIFFERENCE.items()),
    (r"new_fc|base_model\.fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TDN."""
    return "base_model.conv1_5.0.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of segments cannot be read from the keys. 8 (40 frames) is assumed. Another number changes the weights
    of the fusion too, which ``TDN`` sets by the number of segments.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    return compose(new, dropped, resnet_name(new, SOURCE), "tdn", num_frames=40)
