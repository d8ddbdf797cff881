"""ACTION-Net of its authors' repository, on ResNets."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "ACTION-Net authors"
_FIRST = r"base_model\.(layer\d\.\d+\.conv1)"
_PARTS = {
    "shift": "shift",
    "p1_conv1": "space",
    "p2_squeeze": "channel.0",
    "p2_conv1": "channel.1",
    "p2_expand": "channel.3",
    "p3_squeeze": "squeeze",
    "p3_bn1": "squeeze_norm",
    "p3_conv1": "map",
    "p3_expand": "expand",
}
_RULES = [
    (r"base_model\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (rf"{_FIRST}\.net", r"backbone.\1"),
    *((rf"{_FIRST}\.action_{old}", rf"backbone.\1.pre.{name}") for old, name in _PARTS.items()),
    (r"new_fc|base_model\.fc", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' ACTION-Net."""
    return "base_model.layer1.0.conv1.action_shift.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place (BN-Inception).
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    for key, value in new.items():
        if key.endswith(".pre.space.weight"):  # its one input channel becomes three frames
            new[key] = value.squeeze(1)
        elif key.endswith((".pre.channel.0.weight", ".pre.channel.3.weight")):
            new[key] = value.squeeze(3)
    return compose(new, dropped, resnet_name(new, SOURCE), "action")
