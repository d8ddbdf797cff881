"""MViT of PyTorchVideo."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules
from videozoo.hub.convert.torchvision_mvit import BLOCK, convert_mvit

__all__ = ["convert", "matches"]

_RULES: Rules = [
    (r"cls_positional_encoding", "backbone.pos_encoding"),  # parameters that have their new names
    (r"patch_embed\.patch_model", "backbone.conv_proj"),
    (rf"{BLOCK}\.(norm[12]|attn\.qkv)", r"backbone.\1.\2"),
    (rf"{BLOCK}\.attn\.proj", r"backbone.\1.attn.project.0"),
    (rf"{BLOCK}\.attn\.(pool_[qkv])", r"backbone.\1.attn.\2.pool"),
    (rf"{BLOCK}\.attn\.norm_([qkv])", r"backbone.\1.attn.pool_\2.norm_act.0"),
    (rf"{BLOCK}\.attn\._attention_pool_[qkv]\.(?:pool|norm)", ""),  # the same tensors once more
    (rf"{BLOCK}\.proj", r"backbone.\1.project"),
    (rf"{BLOCK}\.mlp\.fc1", r"backbone.\1.mlp.0"),
    (rf"{BLOCK}\.mlp\.fc2", r"backbone.\1.mlp.3"),
    (r"norm_embed", "backbone.norm"),
    (r"head\.proj", "fc"),
]
_TOKENS = {
    "cls_token": "class_token",
    "pos_embed_class": "class_pos",
    "pos_embed_spatial": "spatial_pos",
    "pos_embed_temporal": "temporal_pos",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of PyTorchVideo's MViT for clips."""
    return {"cls_positional_encoding.pos_embed_temporal", "patch_embed.patch_model.weight"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Queries, keys and values become one linear map.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    named = {}
    for key, value in state.items():
        start, _, leaf = key.rpartition(".")
        part = re.fullmatch(rf"{BLOCK}\.attn\.[qkv]\.(weight|bias)", key)
        if start == "cls_positional_encoding" and leaf in _TOKENS:
            width = value.shape[-1]
            named[f"{start}.{_TOKENS[leaf]}"] = value.flatten() if value.numel() == width else value.flatten(0, -2)
        elif part:
            three = [f"{part[1]}.attn.{letter}.{part[2]}" for letter in "qkv"]
            if not all(one in state for one in three):
                raise ConvertError(f"PyTorchVideo: {key} is there, but not all of {', '.join(three)}.")
            named[f"{part[1]}.attn.qkv.{part[2]}"] = torch.cat([state[one] for one in three])
        else:
            named[key] = value
    return convert_mvit(named, _RULES, "PyTorchVideo")
