"""Transformers of MMAction2, 1.x: UniFormer."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted
from videozoo.hub.convert.uniformer import convert_uniformer

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_HEAD = r"cls_head\.fc_cls"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of these models."""
    return "backbone.patch_embed1.proj.weight" in state and "backbone.blocks1.0.pos_embed.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_uniformer(state, r"backbone\.", _HEAD, SOURCE)
