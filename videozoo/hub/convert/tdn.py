"""TDN of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, rename, rename_all
from videozoo.hub.convert.resnet_2d import LEAF, finish, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "TDN authors"
_DIFFERENCE = {
    "conv1": "squeeze",
    "bn1": "squeeze_norm",
    "conv2": "map",
    "conv3": "expand",
    "bn3": "expand_norm",
    "conv3_smallscale2": "pooled",
    "bn3_smallscale2": "pooled_norm",
    "conv3_smallscale4": "full",
    "bn3_smallscale4": "full_norm",
}
_PARTS = r"((?:conv|bn)\d|downsample\.[01])"
_RULES = [
    (rf"base_model\.conv1_temp\.{LEAF}", ""),  # registered by the authors, never used
    (rf"base_model\.(conv1|bn1)\.{LEAF}", r"backbone.\1.\2"),
    (rf"base_model\.conv1_5\.0\.{LEAF}", r"backbone.diff_stem.1.\1"),
    (rf"base_model\.conv1_5\.1\.{LEAF}", r"backbone.diff_stem.2.\1"),
    (rf"base_model\.resnext_layer1\.(\d+)\.{_PARTS}\.{LEAF}", r"backbone.diff_layer1.\1.\2.\3"),
    (rf"base_model\.(layer\d)_bak\.(\d+)\.{_PARTS}\.{LEAF}", r"backbone.\1.\2.\3.\4"),
    (r"base_model\.(layer\d)_bak\.(\d+)\.shift\.conv\.weight", r"backbone.\1.\2.conv2.pre.shift.weight"),
    *(
        (rf"base_model\.(layer\d)_bak\.(\d+)\.mse\.{old}\.{LEAF}", rf"backbone.\1.\2.conv2.pre.difference.{name}.\3")
        for old, name in _DIFFERENCE.items()
    ),
    (r"(?:new_fc|base_model\.fc)\.(weight|bias)", r"fc.\1"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the authors' TDN."""
    return "base_model.conv1_5.0.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names.

    The number of segments cannot be read from the keys; 8 (40 frames) is assumed. Another number changes the weights
    of the fusion too, which ``TDN`` sets by the number of segments.

    Raises:
        ConvertError: a key has no place.
    """
    backbone = resnet_name(
        state, r"base_model\.layer{stage}_bak\.(\d+)\.", "base_model.layer1_bak.0.conv3.weight", SOURCE
    )
    new, dropped = rename_all(state, lambda key: rename(key, _RULES), SOURCE)
    return finish(new, dropped, backbone, {"name": "tdn"}, num_frames=40)
