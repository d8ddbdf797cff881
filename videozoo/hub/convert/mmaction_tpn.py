"""TPN of MMAction2, 0.x and 1.x, on TSM and on SlowOnly."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert import mmaction_2d, mmaction_3d
from videozoo.hub.convert.base import Converted
from videozoo.hub.convert.tpn import add_neck

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_PARTS = {"conv": "0", "bn": "1"}
_RULES = [
    (r"neck\.temporal_modulation_ops\.([01])\.conv\.conv", r"backbone.neck.temporal.\1"),
    (r"neck\.downsample_ops\.0\.conv\.conv", "backbone.neck.downsample"),
    *(
        rule
        for part, index in _PARTS.items()
        for rule in (
            (rf"neck\.spatial_modulation\.spatial_modulation\.0\.0\.{part}", f"backbone.neck.spatial.{index}"),
            (rf"neck\.pyramid_fusion\.{part}", f"backbone.neck.fuse.{index}"),
            (rf"neck\.aux_head\.conv\.{part}", f"aux_head.conv.{index}"),
        )
    ),
    (r"neck\.aux_head\.fc", "aux_head.fc"),
    *(
        rule
        for theirs, ours in (("level_fusion_1", "top_down"), ("level_fusion_2", "bottom_up"))
        for part, index in _PARTS.items()
        for rule in (
            (rf"neck\.{theirs}\.downsamples\.([01])\.conv\.{part}", rf"backbone.neck.{ours}.levels.\1.{index}"),
            (rf"neck\.{theirs}\.fusion_conv\.{part}", f"backbone.neck.{ours}.fuse.{index}"),
        )
    ),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of MMAction2's models with TPN."""
    return "neck.pyramid_fusion.conv.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 8 is assumed.

    Raises:
        ConvertError: a key has no place (another backbone).
    """
    below = {key: value for key, value in state.items() if not key.startswith("neck.")}
    source = mmaction_3d if mmaction_3d.matches(below) else mmaction_2d
    return add_neck(source.convert(below), state, "neck.", _RULES, SOURCE)
