"""MMAction2's 2-D models, 0.x and 1.x: TSN, TSM, TIN, TANet, TRN and C2D on ResNets, TSN and TSM on MobileNetV2.

TSN also on a backbone of its sister library: a ResNet or ResNeXt whose names are torchvision's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from videozoo.hub.convert.base import Alternative, Converted, ConvertError, compose, rename_all, resnet_name
from videozoo.hub.convert.tin import interlaced

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_BLOCK = r"backbone\.(layer\d\.\d+)(?:\.block)?"
_TRN = "cls_head.consensus.fc_fusion_scales.0.1.weight"
_TAM = "backbone.layer1.0.tam.G.0.weight"
_TIN = "backbone.layer1.0.conv1.conv.net1.offset_net.conv.weight"
_INTERLACE = {
    "offset_net.conv": "offset.0",
    "offset_net.fc1": "offset.1",
    "offset_net.fc2": "offset.3",
    "weight_net.conv": "scale",
}
_HEAD = [
    (r"cls_head\.fc_cls", "fc"),
    (r"cls_head\.consensus\.fc_fusion_scales\.(\d+)\.(\d)", r"fc.scales.\1.\2"),
    (r"data_preprocessor", ""),  # constants of the input, not weights
]
_RESNET = [
    (r"backbone\.conv1\.conv", "backbone.conv1"),
    (r"backbone\.conv1\.bn", "backbone.bn1"),
    (rf"{_BLOCK}\.conv(\d)\.conv(?:\.net2?)?", r"backbone.\1.conv\2"),
    (rf"{_BLOCK}\.conv(\d)\.bn", r"backbone.\1.bn\2"),
    (rf"{_BLOCK}\.downsample\.conv", r"backbone.\1.downsample.0"),
    (rf"{_BLOCK}\.downsample\.bn", r"backbone.\1.downsample.1"),
    *((rf"{_BLOCK}\.conv1\.conv\.net1\.{old}", rf"backbone.\1.conv1.pre.{name}") for old, name in _INTERLACE.items()),
    (rf"{_BLOCK}\.tam\.G\.(\d)", r"backbone.\1.conv2.pre.kernel.\2"),
    (rf"{_BLOCK}\.tam\.L\.(\d)", r"backbone.\1.conv2.pre.local.\2"),
    (r"backbone\.(conv1|bn1|layer\d\.\d+\.(?:(?:conv|bn)\d|downsample\.[01]))", r"backbone.\1"),
    *_HEAD,
]
_OF_TRN = [(r"cls_head\.fc_cls", "fc.project"), *_RESNET]
_MOBILENET = [
    (r"backbone\.conv1\.conv", "backbone.conv_stem"),
    (r"backbone\.conv1\.bn", "backbone.bn1"),
    (r"backbone\.conv2\.conv", "backbone.conv_head"),
    (r"backbone\.conv2\.bn", "backbone.bn2"),
    *(  # stages are numbered from 1; the block of the first has no expansion
        (rf"backbone\.layer{stage}\.(\d)\.conv\.{index}(?:\.net)?\.{part}", rf"backbone.blocks.{stage - 1}.\1.{name}")
        for stage in range(1, 8)
        for index, layer in enumerate(("dw", "pw") if stage == 1 else ("pw", "dw", "pwl"))
        for part, name in (("conv", f"conv_{layer}"), ("bn", f"bn{index + 1}"))
    ),
    *_HEAD,
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of MMAction2's 2-D models."""
    first = state.get("backbone.conv1.conv.weight")
    if first is None and "cls_head.fc_cls.weight" in state:
        first = state.get("backbone.conv1.weight")
    return first is not None and first.ndim == 4 and not any("ModuleList" in key for key in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames is read from TIN's, TANet's and TRN's weights. Elsewhere 8 is assumed. C2D has the keys of TSN
    on ResNet-50, from which it differs in its pooling. With torchvision's names for a ResNet, TSN has the keys of the
    TSM that TPN's authors compare with, whose shortcuts are shifted too.

    Raises:
        ConvertError: a key has no place.
    """
    temporal: str | dict[str, Any] = "tsm" if any(".net." in key for key in state) else "tsn"
    if "backbone.layer1.0.conv.0.conv.weight" in state:
        return compose(*rename_all(state, _MOBILENET, SOURCE), "mobilenetv2_100", temporal)
    new, dropped = rename_all(state, _OF_TRN if _TRN in state else _RESNET, SOURCE)
    backbone, num_frames = _backbone(new), 8
    if _TAM in state:
        temporal, num_frames = "tanet", state[_TAM].shape[1]
    elif _TIN in state:
        temporal, num_frames = interlaced(new)
    elif _TRN in state:
        hidden = new["fc.project.weight"].shape[0]
        temporal, num_frames = {"name": "trn", "hidden": hidden}, state[_TRN].shape[1] // hidden
    converted = compose(new, dropped, backbone, temporal, num_frames)
    if _TRN in state:
        converted.spec["num_classes"] = new["fc.scales.0.3.weight"].shape[0]
    if "backbone.conv1.weight" in state:
        shifted = {"name": "tsm", "shift_shortcut": True}
        is_theirs = backbone in ("resnet50", "resnet101")
        return replace(converted, alternatives=(Alternative({"temporal": shifted}, "tsm=True"),) * is_theirs)
    if (backbone, temporal) == ("resnet50", "tsn"):
        clips = {key: value.unsqueeze(2) if value.ndim == 4 else value for key, value in new.items()}
        return replace(converted, alternatives=(Alternative({"backbone": "c2d_resnet50_mm"}, "C2D", clips),))
    return converted


def _backbone(new: Mapping[str, Tensor]) -> str:
    name = resnet_name(new, SOURCE)
    width, per_group = new["backbone.layer1.0.conv2.weight"].shape[:2]
    if width == per_group:
        return name
    if (width, per_group) != (128, 4):
        raise ConvertError(f"{SOURCE}: {width // per_group} groups of {per_group} channels; known are 32 of 4.")
    return name.replace("resnet", "resnext") + "_32x4d"
