"""MSNet, and TSM without its motion module, of the MotionSqueeze repository."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, rename, rename_all
from videozoo.hub.convert.resnet_2d import LEAF, finish, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "MotionSqueeze authors"
_MOTION = "base_model.chnl_reduction.0.weight"
_RULES = [
    (rf"base_model\.bn2\.{LEAF}", ""),  # registered by the authors, never used
    (rf"base_model\.(conv1|bn1)\.{LEAF}", r"backbone.\1.\2"),
    (rf"base_model\.(layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))\.{LEAF}", r"backbone.\1.\2"),
    (rf"base_model\.chnl_reduction\.(\d)\.{LEAF}", r"backbone.layer2.motion.squeeze.\1.\2"),
    *(
        (rf"base_model\.flow_refinement\.conv{i + 1}\.(\d)\.{LEAF}", rf"backbone.layer2.motion.refine.{i}.\1.\2")
        for i in range(4)
    ),
    (r"(?:new_fc|base_model\.fc1?)\.(weight|bias)", r"fc.\1"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the authors' MSNet or TSM; both register a norm that they never use."""
    return _MOTION in state or "base_model.bn2.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names; their classifier, a convolution of kernel 1, becomes a linear map.

    The number of frames cannot be read from the keys; 8 is assumed.

    Raises:
        ConvertError: a key has no place, or TSM on a ResNet-101.
    """
    temporal = "msn" if _MOTION in state else "tsm"
    backbone = resnet_name(state, r"base_model\.layer{stage}\.(\d+)\.", "base_model.layer1.0.conv3.weight", SOURCE)
    if temporal == "tsm" and backbone == "resnet101":
        raise ConvertError(f"{SOURCE}: TSM on ResNet-101 shifts in every block here; ours shifts in every second one.")
    new, dropped = rename_all(state, lambda key: rename(key, _RULES), SOURCE)
    if "fc.weight" in new:
        new["fc.weight"] = new["fc.weight"].flatten(1)
    return finish(new, dropped, backbone, {"name": temporal}, num_frames=8)
