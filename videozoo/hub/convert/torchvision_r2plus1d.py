"""torchvision's R(2+1)D."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, count_blocks, rename, rename_all

__all__ = ["convert", "matches"]

SOURCE = "torchvision's R(2+1)D"
_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_PARTS = {0: "spatial", 1: "bn", 3: "temporal"}
_RULES = [
    *((rf"stem\.{index}\.{_LEAF}", rf"backbone.conv1.{part}.\1") for index, part in _PARTS.items()),
    (rf"stem\.4\.{_LEAF}", r"backbone.bn1.\1"),
    *((rf"(layer\d\.\d+\.conv\d)\.0\.{index}\.{_LEAF}", rf"backbone.\1.{part}.\2") for index, part in _PARTS.items()),
    (rf"(layer\d\.\d+)\.conv(\d)\.1\.{_LEAF}", r"backbone.\1.bn\2.\3"),
    (rf"(layer\d\.\d+\.downsample\.[01])\.{_LEAF}", r"backbone.\1.\2"),
    (r"fc\.(weight|bias)", r"fc.\1"),
]
_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of ``torchvision.models.video.r2plus1d_18`` or its deeper relative."""
    return "stem.3.weight" in state and "layer1.0.conv1.0.3.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names; 16 frames are assumed, as torchvision's weights were trained.

    Raises:
        ConvertError: a key has no place, or another depth than 18 or 34.
    """
    counts = tuple(count_blocks(state, rf"layer{i}\.(\d+)\.") for i in (1, 2, 3, 4))
    if counts not in _DEPTHS:
        raise ConvertError(f"{SOURCE}: stages of {counts} blocks; known are {list(_DEPTHS)}.")
    new, dropped = rename_all(state, lambda key: rename(key, _RULES), SOURCE)
    spec = {
        "backbone": f"r2plus1d_resnet{_DEPTHS[counts]}_tv",
        "temporal": {"name": "tsn"},
        "augmenters": [],
        "num_frames": 16,
    }
    if "fc.weight" in new:
        spec["num_classes"] = new["fc.weight"].shape[0]
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    return Converted(new, spec, dropped, {"mean": mean, "std": std})
