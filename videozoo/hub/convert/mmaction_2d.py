"""MMAction2's 2-D networks, 0.x and 1.x: TSN, TSM, TANet and TRN on ResNets, TSN and TSM on MobileNetV2.

TSN also on a backbone of its sister library: a ResNet or ResNeXt whose names are torchvision's.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, rename, rename_all
from videozoo.hub.convert.resnet_2d import LEAF, finish, resnet_name
from videozoo.hub.convert.torchvision_mobilenet import mobilenet_v2_to_timm

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_BLOCK = r"backbone\.(layer\d\.\d+)(?:\.block)?"
_TRN = "cls_head.consensus.fc_fusion_scales.0.1.weight"
_PLAIN = "backbone.conv1.weight"
_TAM = "backbone.layer1.0.tam.G.0.weight"
_HEAD = [
    (r"cls_head\.fc_cls\.(weight|bias)", r"fc.\1"),
    (r"cls_head\.consensus\.fc_fusion_scales\.(\d+)\.(\d)\.(weight|bias)", r"fc.scales.\1.\2.\3"),
    (r"data_preprocessor\.(mean|std)", ""),  # constants of the input, not weights
]
_RULES = [
    (rf"backbone\.conv1\.conv\.{LEAF}", r"backbone.conv1.\1"),
    (rf"backbone\.conv1\.bn\.{LEAF}", r"backbone.bn1.\1"),
    (rf"{_BLOCK}\.conv(\d)\.conv(?:\.net)?\.{LEAF}", r"backbone.\1.conv\2.\3"),
    (rf"{_BLOCK}\.conv(\d)\.bn\.{LEAF}", r"backbone.\1.bn\2.\3"),
    (rf"{_BLOCK}\.downsample\.conv\.{LEAF}", r"backbone.\1.downsample.0.\2"),
    (rf"{_BLOCK}\.downsample\.bn\.{LEAF}", r"backbone.\1.downsample.1.\2"),
    (rf"{_BLOCK}\.tam\.G\.(\d)\.{LEAF}", r"backbone.\1.conv2.pre.kernel.\2.\3"),
    (rf"{_BLOCK}\.tam\.L\.(\d)\.{LEAF}", r"backbone.\1.conv2.pre.local.\2.\3"),
    (rf"backbone\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))\.{LEAF}", r"backbone.\1.\2"),
    *_HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of one of MMAction2's 2-D networks."""
    first = state.get("backbone.conv1.conv.weight")
    if first is None and "cls_head.fc_cls.weight" in state:
        first = state.get(_PLAIN)
    return first is not None and first.ndim == 4 and not any("ModuleList" in key for key in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """The checkpoint under our names.

    The number of frames is read from TANet's and TRN's weights; elsewhere 8 is assumed.

    Raises:
        ConvertError: a key has no place.
    """
    if "backbone.layer1.0.conv.0.conv.weight" in state:
        return _convert_mobilenet(state)
    backbone = _resnet_name(state)
    rules, num_frames = list(_RULES), 8
    temporal: dict[str, Any] = {"name": "tsn"}
    if _TAM in state:
        temporal, num_frames = {"name": "tanet"}, state[_TAM].shape[1]
    elif _TRN in state:
        rules[0:0] = [(r"cls_head\.fc_cls\.(weight|bias)", r"fc.project.\1")]
        hidden = state["cls_head.fc_cls.weight"].shape[0]
        temporal, num_frames = {"name": "trn", "hidden": hidden}, state[_TRN].shape[1] // hidden
    elif any(".conv.net." in key for key in state):
        temporal = {"name": "tsm"}
    new, dropped = rename_all(state, lambda key: rename(key, rules), SOURCE)
    converted = finish(new, dropped, backbone, temporal, num_frames)
    if _TRN in state:
        converted.spec["num_classes"] = new["fc.scales.0.3.weight"].shape[0]
    return converted


def _resnet_name(state: Mapping[str, Tensor]) -> str:
    block = "backbone.layer1.0.block" if "backbone.layer1.0.block.conv1.conv.weight" in state else "backbone.layer1.0"
    leaf = "weight" if _PLAIN in state else "conv.weight"
    name = resnet_name(state, r"backbone\.layer{stage}\.(\d+)\.", f"{block}.conv3.{leaf}", SOURCE)
    second = state.get(f"{block}.conv2.{leaf}")
    if second is None or second.shape[0] == second.shape[1]:
        return name
    width, per_group = second.shape[:2]
    if (width, per_group) != (128, 4):
        raise ConvertError(f"{SOURCE}: {width // per_group} groups of {per_group} channels; known are 32 of 4.")
    return name.replace("resnet", "resnext") + "_32x4d"


def _convert_mobilenet(state: Mapping[str, Tensor]) -> Converted:
    depths = (1, 2, 3, 4, 3, 3, 1)

    def place(key: str) -> str | None:
        stem = re.fullmatch(rf"backbone\.conv([12])\.(conv|bn)\.{LEAF}", key)
        if stem:
            return f"features.{0 if stem[1] == '1' else 18}.{0 if stem[2] == 'conv' else 1}.{stem[3]}"
        part = re.fullmatch(rf"backbone\.layer(\d)\.(\d)\.conv\.(\d)(?:\.net)?\.(conv|bn)\.{LEAF}", key)
        if part is None:
            return rename(key, _HEAD)
        stage, block, index = int(part[1]) - 1, int(part[2]), int(part[3])
        number = 1 + sum(depths[:stage]) + block
        last = index == (1 if number == 1 else 2)  # the projection has no activation: torchvision does not group it
        name = f"{index + (part[4] == 'bn')}" if last else f"{index}.{0 if part[4] == 'conv' else 1}"
        return f"features.{number}.conv.{name}.{part[5]}"

    torchvision, dropped = rename_all(state, place, SOURCE)
    new = {k if k.startswith("fc.") else f"backbone.{k}": v for k, v in mobilenet_v2_to_timm(torchvision).items()}
    temporal = {"name": "tsm" if any(".net." in key for key in state) else "tsn"}
    return finish(new, dropped, "mobilenetv2_100", temporal, num_frames=8)
