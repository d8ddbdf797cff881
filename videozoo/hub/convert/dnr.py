"""DNR of its authors' repository: ResNet-50 in MMAction2's frame."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, compose, rename_all, resnet_name

__all__ = ["convert", "matches"]

SOURCE = "DNR authors"
_BLOCK = r"backbone\.(layer\d)\.ModuleList\.(\d+)"
_PHI = {"w_ih": "phi_x", "w_hh": "phi_h"}
_RULES = [
    (r"backbone\.(conv1|bn1)", r"backbone.\1"),
    (rf"{_BLOCK}\.((?:conv|bn)\d|downsample\.[01])", r"backbone.\1.\2.\3"),
    *(
        (rf"{_BLOCK}\.bn2\.lstm\.{old}\.0\.seq\.([02])", rf"backbone.\1.\2.bn2.cell.{new}.\3")
        for old, new in _PHI.items()
    ),
    *(
        (rf"backbone\.(layer\d)\.lstm\.{old}\.0\.seq\.([02])", rf"backbone.\1.relay.0.{new}.\2")
        for old, new in _PHI.items()
    ),
    (r"cls_head\.fc_cls", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' DNR."""
    return "backbone.layer1.ModuleList.0.conv1.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The code differs from the paper where ``DNR``'s options say: groups of two frames, each with batch statistics of its
    own in training, no interlacing, biases in every linear map. Its gates stand in the order i, f, g, o, ours
    f, i, g, o: the rows are reordered.

    Raises:
        ConvertError: a key has no place.
    """
    new, dropped = rename_all(state, _RULES, SOURCE)
    for key in new:
        if ".phi_" in key and key.rsplit(".", 2)[1] == "2":
            i, f, g, o = new[key].chunk(4)
            new[key] = torch.cat([f, i, g, o])
    converted = compose(new, dropped, resnet_name(new, SOURCE))
    options = {"name": "dnr", "ct_group_frames": 2, "interlace": False, "linear_bias": True, "ct_statistics": "group"}
    return replace(converted, spec={**converted.spec, "augmenters": [options]})
