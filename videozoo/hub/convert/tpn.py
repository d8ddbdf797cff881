"""TPN of its authors' repository, on TSM and on SlowOnly, and their SlowOnly without it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from videozoo.hub.convert import mmaction_2d, mmaction_3d
from videozoo.hub.convert.base import Converted, Rules, rename_all

__all__ = ["add_neck", "convert", "matches"]

SOURCE = "TPN authors"
_LAST = "necks.pyramid_fusion_op.0.weight"
_RULES = [
    (r"necks\.spatial_modulation\.spatial_modulation\.0\.0\.conv", "backbone.neck.spatial.0"),
    (r"necks\.spatial_modulation\.spatial_modulation\.0\.0\.bn", "backbone.neck.spatial.1"),
    (r"necks\.temporal_modulation_ops\.([01])\.conv", r"backbone.neck.temporal.\1"),
    (r"necks\.downsampling_ops\.0\.conv", "backbone.neck.downsample"),
    *(
        rule
        for theirs, ours in (("level_fusion_op2", "top_down"), ("level_fusion_op", "bottom_up"))
        for rule in (
            (rf"necks\.{theirs}\.ops\.([01])\.conv", rf"backbone.neck.{ours}.levels.\1.0"),
            (rf"necks\.{theirs}\.ops\.([01])\.norm", rf"backbone.neck.{ours}.levels.\1.1"),
            (rf"necks\.{theirs}\.fusion_conv\.([01])", rf"backbone.neck.{ours}.fuse.\1"),
        )
    ),
    (r"necks\.pyramid_fusion_op\.([01])", r"backbone.neck.fuse.\1"),
    (r"necks\.aux_head\.convs\.conv", "aux_head.conv.0"),
    (r"necks\.aux_head\.convs\.bn", "aux_head.conv.1"),
    (r"necks\.aux_head\.fc", "aux_head.fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' TPN, or of their SlowOnly without it."""
    first = state.get("backbone.conv1.weight")
    return _LAST in state or (first is not None and first.ndim == 5 and "cls_head.fc_cls.weight" in state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    On a 2-D backbone it is TSM, whose shift the shortcuts with a convolution see too. On ResNet-101 the third stage
    keeps two time steps. The number of frames cannot be read from the keys. 8 is assumed. Their TSM without the neck
    has the keys of MMAction2's TSN, whose converter takes it.

    Raises:
        ConvertError: a key has no place (another backbone).
    """
    is_3d = state["backbone.conv1.weight"].ndim == 5
    below = {key: value for key, value in state.items() if not key.startswith("necks.")}
    options: dict[str, Any] = {}
    if is_3d:  # the authors have MMAction2's blocks without its wrappers
        converted = mmaction_3d.convert(below)
        if _LAST not in state:
            return converted
        options["shallow_steps"] = 2 if "101" in converted.spec["backbone"] else 1
    else:
        converted = mmaction_2d.convert(below)
        converted.spec["temporal"] = {"name": "tsm", "shift_shortcut": True}
    return add_neck(converted, state, "necks.", _RULES, SOURCE, options)


def add_neck(
    converted: Converted,
    state: Mapping[str, Tensor],
    prefix: str,
    rules: Rules,
    source: str,
    options: Mapping[str, Any] | None = None,
) -> Converted:
    """Add the neck and its auxiliary head to the converted backbone and classifier.

    Args:
        converted: the model without them.
        state: tensors by the source's key.
        prefix: what the keys of the neck begin with.
        rules: those of the neck.
        source: who wrote the checkpoint, for the error.
        options: of TPN.
    """
    neck, dropped = rename_all({key: state[key] for key in state if key.startswith(prefix)}, rules, source)
    part = {"name": "tpn", **(options or {})}
    if not any(key.startswith("aux_head.") for key in neck):
        part["aux_weight"] = 0.0
    return replace(
        converted,
        state={**converted.state, **neck},
        spec={**converted.spec, "augmenters": [part]},
        dropped=(*converted.dropped, *dropped),
        alternatives=(),
    )
