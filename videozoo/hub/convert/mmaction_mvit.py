"""MViTv2 of MMAction2."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules
from videozoo.hub.convert.torchvision_mvit import BLOCK, convert_mvit

__all__ = ["convert", "matches"]

_RULES: Rules = [
    (r"backbone", "backbone.pos_encoding"),  # the class token, which has its new name
    (r"backbone\.patch_embed\.projection", "backbone.conv_proj"),
    (rf"backbone\.{BLOCK}\.(norm[12]|attn|attn\.qkv)", r"backbone.\1.\2"),
    (rf"backbone\.{BLOCK}\.attn\.proj", r"backbone.\1.attn.project.0"),
    (rf"backbone\.{BLOCK}\.attn\.(pool_[qkv])", r"backbone.\1.attn.\2.pool"),
    (rf"backbone\.{BLOCK}\.attn\.norm_([qkv])", r"backbone.\1.attn.pool_\2.norm_act.0"),
    (rf"backbone\.{BLOCK}\.proj", r"backbone.\1.project"),
    (rf"backbone\.{BLOCK}\.mlp\.fc1", r"backbone.\1.mlp.0"),
    (rf"backbone\.{BLOCK}\.mlp\.fc2", r"backbone.\1.mlp.3"),
    (r"backbone\.norm3", "backbone.norm"),
    (r"cls_head\.fc_cls", "fc"),
]
_TOKEN = "backbone.cls_token"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of MMAction2's MViT."""
    return {_TOKEN, "backbone.patch_embed.projection.weight", "backbone.blocks.0.attn.rel_pos_t"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    named = {key: value for key, value in state.items() if key != _TOKEN}
    return convert_mvit({**named, "backbone.class_token": state[_TOKEN].flatten()}, _RULES, "MMAction2")
