"""TSN and TSM of the TSM repository, on ResNets and MobileNetV2."""

import re
from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, rename, rename_all
from videozoo.hub.convert.resnet_2d import LEAF, finish, resnet_name
from videozoo.hub.convert.torchvision_mobilenet import mobilenet_v2_to_timm

__all__ = ["convert", "matches"]

SOURCE = "TSM authors"
_HEAD = (r"(?:new_fc|base_model\.(?:fc|classifier))\.(weight|bias)", r"fc.\1")
_RULES = [
    (rf"base_model\.(conv1|bn1)\.{LEAF}", r"backbone.\1.\2"),
    (rf"base_model\.(layer\d\.\d+\.(?:conv|bn)\d)(?:\.net)?\.{LEAF}", r"backbone.\1.\2"),
    (rf"base_model\.(layer\d\.\d+\.downsample\.[01])\.{LEAF}", r"backbone.\1.\2"),
    _HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the authors' TSN or TSM on a ResNet or a MobileNetV2."""
    resnet = any(f"base_model.layer1.0.conv1{net}.weight" in state for net in ("", ".net"))
    foreign = re.compile(r"base_model\.(bn2\.|layer\d\.\d+\.(tam|me)\b)")
    return ("base_model.features.0.0.weight" in state) or (resnet and not any(map(foreign.match, state)))


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names. The number of frames cannot be read from the keys; 8 is assumed.

    Raises:
        ConvertError: a key has no place (non-local blocks, another backbone).
    """
    temporal = {"name": "tsm" if any(".net." in key for key in state) else "tsn"}
    if "base_model.features.0.0.weight" in state:
        return _convert_mobilenet(state, temporal)
    backbone = resnet_name(state, r"base_model\.layer{stage}\.(\d+)\.", "base_model.layer1.0.conv3.weight", SOURCE)
    new, dropped = rename_all(state, lambda key: rename(key, _RULES), SOURCE)
    return finish(new, dropped, backbone, temporal, num_frames=8)


def _convert_mobilenet(state: Mapping[str, Tensor], temporal: Mapping[str, str]) -> Converted:
    def place(key: str) -> str | None:
        if not key.startswith("base_model.features."):
            return rename(key, [_HEAD])
        # The authors number the layers of a block flatly; torchvision groups each convolution with its norm.
        flat = re.fullmatch(rf"base_model\.features\.(\d+)\.conv\.(\d+)(?:\.net)?\.{LEAF}", key)
        if flat is None:
            return key.removeprefix("base_model.")
        block, index, leaf = int(flat[1]), int(flat[2]), flat[3]
        grouped = {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
        if block == 1:
            grouped = {0: "0.0", 1: "0.1", 3: "1", 4: "2"}
        return f"features.{block}.conv.{grouped[index]}.{leaf}" if index in grouped else None

    torchvision, dropped = rename_all(state, place, SOURCE)
    new = {k if k.startswith("fc.") else f"backbone.{k}": v for k, v in mobilenet_v2_to_timm(torchvision).items()}
    return finish(new, dropped, "mobilenetv2_100", temporal, num_frames=8)
