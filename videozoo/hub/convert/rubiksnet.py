"""RubiksNet of its authors' repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "RubiksNet authors"
_BLOCK = r"backbone\.(layer\d\.\d+)"
_RULES = [
    (r"backbone\.conv1", "backbone.conv1"),
    (rf"{_BLOCK}\.(bn[12]|shortcut)", r"backbone.\1.\2"),
    (rf"{_BLOCK}\.conv2(?:\.1)?", r"backbone.\1.conv1"),
    (rf"{_BLOCK}\.conv2\.0", r"backbone.\1.mix"),
    (rf"{_BLOCK}\.conv2\.0\.T", r"backbone.\1.mix.temperature"),
    (rf"{_BLOCK}\.as3\.(?:rubiks3d\.)?shift", r"backbone.\1.shift.shift"),
    (rf"{_BLOCK}\.se\.fc\.0", r"backbone.\1.se.fc1"),
    (rf"{_BLOCK}\.se\.fc\.2", r"backbone.\1.se.fc2"),
    (rf"{_BLOCK}\.conv3", r"backbone.\1.conv2"),
    (r"backbone\.bn_last", "backbone.norm"),
    ("new_fc", "fc"),
]
_BARE = (".shift", ".T", ".temperature")  # tensors that are no weight or bias of a module
_TIERS = {(54, 6): "tiny", (72, 6): "small", (72, 23): "medium", (72, 36): "large"}  # by width and blocks of stage 3


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' RubiksNet, with shifts or with attention over time."""
    return any(f"backbone.layer0.0.as3.{key}" in state for key in ("rubiks3d.shift", "shift"))


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    8 frames are assumed, as the authors' weights were trained.

    Raises:
        ConvertError: a key has no place, or the width and depth are those of none of the authors' models.
    """
    marked = {f"{key}.weight" if key.endswith(_BARE) else key: value for key, value in state.items()}
    renamed, dropped = rename_all(marked, _RULES, SOURCE)
    new = {}
    for key, value in renamed.items():
        bare = key.removesuffix(".weight")
        is_hidden = ".se.fc" in key  # a linear layer there, a 1x1 convolution here
        new[bare if bare.endswith(_BARE) else key] = value[..., None, None] if is_hidden else value
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.layer3.")})
    width = new["backbone.conv1.weight"].shape[0] if "backbone.conv1.weight" in new else 0
    if (width, depth) not in _TIERS:
        raise ConvertError(f"{SOURCE}: width {width} and {depth} blocks in stage 3; known are {list(_TIERS)}.")
    kind = "_aq" if "backbone.layer0.0.mix.weight" in new else ""
    return compose(new, dropped, f"rubiks_{_TIERS[width, depth]}{kind}")
