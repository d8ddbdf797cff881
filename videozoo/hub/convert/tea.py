"""TEA of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all

__all__ = ["EXCITE", "convert", "matches"]

SOURCE = "TEA authors"
_BLOCK = r"base_model\.(layer\d\.\d+)"
# TDN's authors call these parts alike.
EXCITE = {"conv1": "squeeze", "bn1": "squeeze_norm", "conv2": "map", "conv3": "expand", "bn3": "expand_norm"}
_RULES = [
    (r"base_model\.(conv1|bn1)", r"backbone.\1"),
    (rf"{_BLOCK}\.((?:conv|bn)[13]|convs\.\d|bns\.\d|downsample\.[01])", r"backbone.\1.\2"),
    *((rf"{_BLOCK}\.me\.{old}", rf"backbone.\1.excite.{name}") for old, name in EXCITE.items()),
    (rf"{_BLOCK}\.shifts\.([012])\.conv", r"backbone.\1.convs.\2.pre"),
    (rf"{_BLOCK}\.shifts\.3\.conv", r"backbone.\1.last_shift"),
    (r"new_fc|base_model\.fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TEA."""
    return "base_model.layer1.0.me.conv1.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    return compose(*rename_all(state, _RULES, SOURCE), "res2net50_26w_4s", "tea")
