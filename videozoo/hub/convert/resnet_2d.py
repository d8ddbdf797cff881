"""What the converters of 2-D networks on ResNets share."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, count_blocks

__all__ = ["LEAF", "finish", "resnet_name"]

LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_RESNETS: dict[tuple[int, ...], tuple[str, str]] = {
    (2, 2, 2, 2): ("resnet18", ""),
    (3, 4, 6, 3): ("resnet34", "resnet50"),
    (3, 4, 23, 3): ("", "resnet101"),
}


def resnet_name(state: Mapping[str, Tensor], stages: str, third_conv: str, source: str) -> str:
    """timm's name of the ResNet whose keys these are.

    Args:
        state: the checkpoint.
        stages: pattern of a key's start with ``{stage}`` in it and the block's number as its first group.
        third_conv: the key of a block's third convolution, there only in a bottleneck.
        source: who wrote the checkpoint, for the error.
    Raises:
        ConvertError: no ResNet of these depths is known.
    """
    depths = tuple(count_blocks(state, stages.format(stage=i)) for i in (1, 2, 3, 4))
    name = _RESNETS.get(depths, ("", ""))[third_conv in state]
    if not name:
        raise ConvertError(f"{source}: stages of {depths} blocks are no ResNet-18, 34, 50 or 101.")
    return name


def finish(
    new: dict[str, Tensor], dropped: tuple[str, ...], backbone: str, temporal: Mapping[str, Any], num_frames: int
) -> Converted:
    """Put state and composition together; the classes are counted on the classifier."""
    spec: dict[str, Any] = {
        "backbone": backbone,
        "temporal": dict(temporal),
        "augmenters": [],
        "num_frames": num_frames,
    }
    if "fc.weight" in new:
        spec["num_classes"] = new["fc.weight"].shape[0]
    return Converted(new, spec, dropped)
