"""TSN and TSM of the TSM repository, on ResNets and MobileNetV2."""

import re
from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name
from videozoo.hub.convert.torchvision_mobilenet import mobilenet_v2_rules

__all__ = ["convert", "matches"]

SOURCE = "TSM authors"
_STEM = "base_model.features.0.0.weight"
_NET = r"(?:\.net)?"  # around what a shift stands before
_RULES = [
    (rf"base_model\.(conv1|bn1|layer\d\.\d+\.(?:conv|bn)\d){_NET}", r"backbone.\1"),
    (r"base_model\.(layer\d\.\d+\.downsample\.[01])", r"backbone.\1"),
    # The authors number the layers of MobileNetV2's blocks flatly, activations included.
    *mobilenet_v2_rules(
        r"base_model\.", "backbone.", (f"0{_NET}", "1", "3", "4"), (f"0{_NET}", "1", "3", "4", "6", "7")
    ),
    (r"new_fc|base_model\.(?:fc|classifier)", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TSN or TSM on a ResNet or a MobileNetV2."""
    resnet = any(f"base_model.layer1.0.conv1{net}.weight" in state for net in ("", ".net"))
    foreign = re.compile(r"base_model\.(bn2\.|layer\d\.\d+\.(tam\b|me\b|conv1\.action_))")
    return _STEM in state or (resnet and not any(map(foreign.match, state)))


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place (non-local blocks, another backbone).
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    backbone = "mobilenetv2_100" if _STEM in state else resnet_name(new, SOURCE)
    return compose(new, dropped, backbone, "tsm" if any(".net." in key for key in state) else "tsn")
