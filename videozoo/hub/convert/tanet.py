"""TANet of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "TANet authors"
_BLOCK = r"base_model\.(layer\d\.\d+)"
_RULES = [
    (r"base_model\.(conv1|bn1)", r"backbone.\1"),
    (rf"{_BLOCK}\.net\.((?:conv|bn)\d|downsample\.[01])", r"backbone.\1.\2"),
    (rf"{_BLOCK}\.tam\.G\.(\d)", r"backbone.\1.conv2.pre.kernel.\2"),
    (rf"{_BLOCK}\.tam\.L\.(\d)", r"backbone.\1.conv2.pre.local.\2"),
    (r"new_fc|base_model\.fc", "fc"),
]
_KERNEL = "base_model.layer1.0.tam.G.0.weight"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TANet."""
    return _KERNEL in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames is read from the kernel's branch.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    return compose(new, dropped, resnet_name(new, SOURCE), "tanet", state[_KERNEL].shape[1])
