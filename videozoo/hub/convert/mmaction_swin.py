"""Video Swin Transformer of MMAction2."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted
from videozoo.hub.convert.video_swin import convert_swin, swin_rules

__all__ = ["convert", "matches"]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of MMAction2's Swin transformer, whose last norm has the stage's number."""
    return {"backbone.layers.0.blocks.0.attn.relative_position_bias_table", "backbone.norm3.weight"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    32 frames are assumed, as all of MMAction2's weights take.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_swin(state, swin_rules(r"backbone\.norm3"), "MMAction2")
