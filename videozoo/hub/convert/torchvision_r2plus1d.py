"""torchvision's R(2+1)D."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, depth_of, rename_all

__all__ = ["convert", "matches"]

SOURCE = "torchvision's R(2+1)D"
_PARTS = {0: "spatial", 1: "bn", 3: "temporal"}
_RULES = [
    *((rf"stem\.{index}", f"backbone.conv1.{part}") for index, part in _PARTS.items()),
    (r"stem\.4", "backbone.bn1"),
    *((rf"(layer\d\.\d+\.conv\d)\.0\.{index}", rf"backbone.\1.{part}") for index, part in _PARTS.items()),
    (r"(layer\d\.\d+)\.conv(\d)\.1", r"backbone.\1.bn\2"),
    (r"(layer\d\.\d+\.downsample\.[01])", r"backbone.\1"),
    ("fc", "fc"),
]
_DEPTHS: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of ``torchvision.models.video.r2plus1d_18`` or its deeper relative."""
    return "stem.3.weight" in state and "layer1.0.conv1.0.3.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    16 frames are assumed, as torchvision's weights were trained.

    Raises:
        ConvertError: a key has no place, or another depth than 18 or 34.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    depth = depth_of(new, _DEPTHS, SOURCE)
    cfg = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
    return compose(new, dropped, f"r2plus1d_resnet{depth}_tv", num_frames=16, cfg=cfg)
