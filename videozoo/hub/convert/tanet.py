"""TANet of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, rename, rename_all
from videozoo.hub.convert.resnet_2d import LEAF, finish, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "TANet authors"
_BLOCK = r"base_model\.(layer\d\.\d+)"
_RULES = [
    (rf"base_model\.(conv1|bn1)\.{LEAF}", r"backbone.\1.\2"),
    (rf"{_BLOCK}\.net\.((?:conv|bn)\d|downsample\.[01])\.{LEAF}", r"backbone.\1.\2.\3"),
    (rf"{_BLOCK}\.tam\.G\.(\d)\.{LEAF}", r"backbone.\1.conv2.pre.kernel.\2.\3"),
    (rf"{_BLOCK}\.tam\.L\.(\d)\.{LEAF}", r"backbone.\1.conv2.pre.local.\2.\3"),
    (r"(?:new_fc|base_model\.fc)\.(weight|bias)", r"fc.\1"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the authors' TANet."""
    return "base_model.layer1.0.tam.G.0.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names; the number of frames is read from the kernel's branch.

    Raises:
        ConvertError: a key has no place.
    """
    backbone = resnet_name(state, r"base_model\.layer{stage}\.(\d+)\.", "base_model.layer1.0.net.conv3.weight", SOURCE)
    new, dropped = rename_all(state, lambda key: rename(key, _RULES), SOURCE)
    num_frames = state["base_model.layer1.0.tam.G.0.weight"].shape[1]
    return finish(new, dropped, backbone, {"name": "tanet"}, num_frames)
