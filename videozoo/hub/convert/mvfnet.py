"""MVFNet of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "MVFNet authors"
_FIRST = r"backbone\.(layer\d\.\d+\.conv1)"
_VIEWS = {"shift_conv": "time", "h_conv": "height", "w_conv": "width", "bn": "norm"}
_RULES = [
    (r"backbone\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (rf"{_FIRST}\.net", r"backbone.\1"),
    *((rf"{_FIRST}\.{old}", rf"backbone.\1.pre.{name}") for old, name in _VIEWS.items()),
    (r"cls_head\.new_fc", "fc"),
]
_TIME = "backbone.layer3.0.conv1.pre.time.weight"
_INPUT = "backbone.layer3.0.conv1.weight"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' MVFNet."""
    return "backbone.layer3.0.conv1.shift_conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The fraction of convolved channels is read from the weights. The number of frames cannot be read from the keys. 8
    is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    part_div = new[_INPUT].shape[1] // new[_TIME].shape[0]
    flat = {
        ".time.weight": (4, 3),
        ".height.weight": (2,),
        ".width.weight": (2,),
    }  # 3-D kernels, one frame or row thick
    for key, value in new.items():
        for end, dims in flat.items():
            if key.endswith(f".pre{end}"):
                for dim in dims:
                    value = value.squeeze(dim)
                new[key] = value
    return compose(new, dropped, resnet_name(new, SOURCE), {"name": "mvf", "part_div": part_div})
