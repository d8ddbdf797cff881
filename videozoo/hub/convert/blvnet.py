"""bLVNet-TAM of its authors' repository, on Big-Little ResNets."""

from collections.abc import Mapping

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "bLVNet-TAM authors"
_TAPS = ("prev", "curr", "next")
_FIRST = "baseline_model.tam.prev.weight"
_RULES = [
    (r"baseline_model\.layer4\.0\.tam", "backbone.layer4_tam"),
    (r"baseline_model\.layer4\.(\d+)\.tam", r"backbone.layer4.\1.conv1.pre"),
    (r"new_fc|baseline_model\.fc", "fc"),
    (
        r"baseline_model\.((?:conv1|bn1|b_conv0|bn_b0|l_conv[012]|bn_l[012]|bl_init|bn_bl_init|tam"
        r"|layer\d\.(?:tam|little_e\.[01]|(?:(?:big|little|fusion)\.)?\d+\.(?:(?:conv|bn)\d|downsample\.\d))))",
        r"backbone.\1",
    ),
]
_DEPTHS = {(2, 3, 5, 3): 50, (3, 7, 17, 3): 101, (4, 11, 29, 3): 152}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' bLVNet-TAM."""
    return _FIRST in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The three convolutions of each aggregation become one. The number of frames cannot be read from the keys. 16 is
    assumed ("8x2").

    Raises:
        ConvertError: a key has no place, or a depth that is not registered.
    """
    merged = {key: value for key, value in state.items() if key.split(".")[-2] not in _TAPS}
    for key in state:
        if key.endswith(".prev.weight"):
            name = key.removesuffix("prev.weight")
            taps = [state.get(f"{name}{tap}.weight") for tap in _TAPS]
            if any(tap is None for tap in taps):
                raise ConvertError(f"{SOURCE}: {name[:-1]} has not the weights {', '.join(_TAPS)}.")
            merged[f"{name}weight"] = torch.cat([tap.flatten(2) for tap in taps if tap is not None], 2)
    new, dropped = rename_all(merged, _RULES, SOURCE)
    big = [f"backbone.layer{stage}.{'' if stage == 4 else 'big.'}" for stage in (1, 2, 3, 4)]
    depths = tuple(sum(key.startswith(name) and key.endswith(".bn1.weight") for key in new) for name in big)
    if depths not in _DEPTHS:
        raise ConvertError(f"{SOURCE}: big branches of {depths} blocks; known are {list(_DEPTHS)}.")
    return compose(new, dropped, f"blresnet{_DEPTHS[depths]}", "blvnettam", num_frames=16)
