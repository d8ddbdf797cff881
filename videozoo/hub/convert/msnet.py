"""MSNet, and TSM without its motion module, of the MotionSqueeze repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "MotionSqueeze authors"
_MOTION = "base_model.chnl_reduction.0.weight"
_RULES = [
    (r"base_model\.bn2", ""),  # registered by the authors, never used
    (r"base_model\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    (r"base_model\.chnl_reduction\.(\d)", r"backbone.layer2.motion.squeeze.\1"),
    *((rf"base_model\.flow_refinement\.conv{i + 1}\.(\d)", rf"backbone.layer2.motion.refine.{i}.\1") for i in range(4)),
    (r"new_fc|base_model\.fc1?", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' MSNet or TSM.

    Both register a norm that they never use.
    """
    return _MOTION in state or "base_model.bn2.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Their classifier, a convolution of kernel 1, becomes a linear map.

    The number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place, or TSM on a ResNet-101.
    """
    temporal = "msn" if _MOTION in state else "tsm"
    new, dropped = rename_all(state, _RULES, SOURCE)
    backbone = resnet_name(new, SOURCE)
    if temporal == "tsm" and backbone == "resnet101":
        raise ConvertError(f"{SOURCE}: TSM on ResNet-101 shifts in every block here; ours shifts in every second one.")
    if "fc.weight" in new:
        new["fc.weight"] = new["fc.weight"].flatten(1)
    return compose(new, dropped, backbone, temporal)
