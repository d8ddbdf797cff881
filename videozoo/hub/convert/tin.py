"""TIN of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "interlaced", "matches"]

SOURCE = "TIN authors"
_FIRST = r"base_model\.(layer\d\.\d+\.conv1)"
_OFFSETS = {"conv": "offset.0", "fc": "offset.1", "lastlayer": "offset.3"}
_RULES = [
    (r"base_model\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (rf"{_FIRST}\.net2", r"backbone.\1"),
    *((rf"{_FIRST}\.net1\.biasnet\.net\.{old}", rf"backbone.\1.pre.{name}") for old, name in _OFFSETS.items()),
    (rf"{_FIRST}\.net1\.weightnet\.net\.lastlayer", r"backbone.\1.pre.scale"),
    (r"new_fc|base_model\.fc", "fc"),
]
_OFFSET = "backbone.layer1.0.conv1.pre.offset"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TIN."""
    return "base_model.layer1.0.conv1.net1.biasnet.net.conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames and the fraction of channels that move are read from the weights.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    return compose(new, dropped, resnet_name(new, SOURCE), *interlaced(new))


def interlaced(new: Mapping[str, Tensor]) -> tuple[dict[str, int | str], int]:
    """Return the temporal module and the number of frames of renamed weights of TIN."""
    inputs, part = new["backbone.layer1.0.conv1.weight"].shape[1], new[f"{_OFFSET}.0.weight"].shape[1]
    return {"name": "tin", "shift_div": inputs // part}, new[f"{_OFFSET}.1.weight"].shape[0]
