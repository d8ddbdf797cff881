"""torchvision's 3-D ResNets: R(2+1)D, R3D, MC3."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, depth_of, rename_all

__all__ = ["convert", "matches"]

SOURCE = "torchvision's 3-D ResNet"
_PARTS = {0: "spatial", 1: "bn", 3: "temporal"}
_SHARED = [
    (r"(layer\d\.\d+)\.conv(\d)\.1", r"backbone.\1.bn\2"),
    (r"(layer\d\.\d+\.downsample\.[01])", r"backbone.\1"),
    ("fc", "fc"),
]
_FACTORIZED = [
    *((rf"stem\.{index}", f"backbone.conv1.{part}") for index, part in _PARTS.items()),
    (r"stem\.4", "backbone.bn1"),
    *((rf"(layer\d\.\d+\.conv\d)\.0\.{index}", rf"backbone.\1.{part}") for index, part in _PARTS.items()),
    *_SHARED,
]
_WHOLE = [
    (r"stem\.0", "backbone.conv1"),
    (r"stem\.1", "backbone.bn1"),
    (r"(layer\d\.\d+\.conv\d)\.0", r"backbone.\1"),
    *_SHARED,
]
_DEPTHS: dict[tuple[int, ...], int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34}
# Frames that the convolutions of stages 1 to 4 see.
_KERNELS = {(3, 3, 3, 3): "r3d", (3, 1, 1, 1): "mc3"}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of ``torchvision.models.video.VideoResNet`` with basic blocks."""
    is_factorized = "stem.3.weight" in state and "layer1.0.conv1.0.3.weight" in state
    return is_factorized or ("stem.0.weight" in state and "layer1.0.conv1.0.weight" in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    16 frames are assumed, as torchvision's weights were trained.

    Raises:
        ConvertError: a key has no place, another depth than 18 (R(2+1)D: or 34), or other kernels.
    """
    is_factorized = "stem.3.weight" in state
    new, dropped = rename_all(state, _FACTORIZED if is_factorized else _WHOLE, SOURCE)
    depth = depth_of(new, _DEPTHS, SOURCE)
    backbone = f"r2plus1d_resnet{depth}_tv"
    if not is_factorized:
        kernels = tuple(new[f"backbone.layer{stage}.0.conv1.weight"].shape[2] for stage in (1, 2, 3, 4))
        if depth != 18 or kernels not in _KERNELS:
            raise ConvertError(
                f"{SOURCE}: depth {depth} with kernels over {kernels} frames; known are depth 18 and {list(_KERNELS)}."
            )
        backbone = f"{_KERNELS[kernels]}_resnet18"
    cfg = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
    return compose(new, dropped, backbone, num_frames=16, cfg=cfg)
