"""Hiera on clips, the authors' code: fine-tuned models and encoders alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["convert", "matches"]

SOURCE = "Hiera authors"
_RULES: Rules = [
    (r"(patch_embed\.proj|blocks\.\d+\.(?:norm[12]|proj|attn\.(?:qkv|proj)|mlp\.fc[12]))", r"backbone.\1"),
    (r"norm", "backbone.fc_norm"),
    (r"head\.projection", "fc"),
    (r"(?:encoder_norm|decoder_\w+|multi_scale_fusion_heads)(?:\..*)?", ""),  # of pretraining
]
_TABLES = ("pos_embed_spatial", "pos_embed_temporal")
_PRETRAINING = ("mask_token", "decoder_pos_embed")
_SHAPES = {"patch_embed.proj.weight": (96, 3, 3, 7, 7), _TABLES[0]: (1, 56 * 56, 96), _TABLES[1]: (1, 8, 96)}
_BLOCKS = 24
_HALF = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of Hiera on clips."""
    return {*_TABLES, "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    An encoder without classifier becomes a model without classes, to start from. Its ``fc_norm`` is new, as in the
    authors' fine-tuning.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    left_out = tuple(key for key in _PRETRAINING if key in state)
    rest = {key: value for key, value in state.items() if key not in (*_TABLES, *left_out)}
    new, dropped = rename_all(rest, _RULES, SOURCE)
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.blocks.")})
    found = {key: tuple(state[key].shape) for key in _SHAPES}
    if found != _SHAPES or depth != _BLOCKS:
        raise ConvertError(
            f"{SOURCE}: Hiera of {depth} blocks with tensors {found}; known is Hiera-B for 16 frames of 224 pixels: "
            f"{_BLOCKS} blocks, {_SHAPES}."
        )
    new |= {f"backbone.{key}": state[key] for key in _TABLES}
    has_classes = "fc.weight" in new
    if not has_classes:
        width = new[f"backbone.blocks.{_BLOCKS - 1}.norm1.weight"].shape
        new |= {"backbone.fc_norm.weight": torch.ones(width), "backbone.fc_norm.bias": torch.zeros(width)}
    converted = compose(new, dropped + left_out, "hiera_base_16x224", num_frames=16, cfg=_HALF)
    if not has_classes:
        converted.spec["num_classes"] = 0
    return converted
