"""Transformers of MMAction2, 0.x and 1.x: UniFormer, TimeSformer, VideoMAE."""

import re
from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules, rename_all
from videozoo.hub.convert.timesformer import compose_timesformer
from videozoo.hub.convert.uniformer import convert_uniformer
from videozoo.hub.convert.videomae import convert_videomae

__all__ = ["convert", "matches"]

SOURCE = "MMAction2"
_HEAD = r"cls_head\.fc_cls"
_LAYER = r"backbone\.transformer_layers\.layers\.(\d+)"


def _timesformer_rules(attentions: Mapping[str, str]) -> Rules:
    """Return the rules. ``attentions`` are our prefixes (of norm, attention) by the number of an attention."""
    rules: list[tuple[str, str]] = [
        (r"backbone", "backbone"),  # the class token and embeddings
        (r"backbone\.patch_embed\.projection", "backbone.patch_embed.proj"),
        (r"backbone\.norm", "backbone.norm"),
        (rf"{_LAYER}\.attentions\.\d\.temporal_fc", r"backbone.blocks.\1.temporal_fc"),
        (rf"{_LAYER}\.norms\.0", r"backbone.blocks.\1.norm1"),
        (rf"{_LAYER}\.(?:norms\.1|ffns\.0\.norm)", r"backbone.blocks.\1.norm2"),
        (rf"{_LAYER}\.ffns\.0\.layers\.0\.0", r"backbone.blocks.\1.mlp.fc1"),
        (rf"{_LAYER}\.ffns\.0\.layers\.1", r"backbone.blocks.\1.mlp.fc2"),
        (_HEAD, "fc"),
    ]
    for number, prefix in attentions.items():
        old, new = rf"{_LAYER}\.attentions\.{number}", rf"backbone.blocks.\1.{prefix}"
        rules += [
            (rf"{old}\.norm", f"{new}norm1"),
            (rf"{old}\.attn\.in_proj", f"{new}attn.qkv"),
            (rf"{old}\.attn\.out_proj", f"{new}attn.proj"),
        ]
    return rules


_VIDEOMAE = "backbone.blocks.0.mlp.layers.0.0.weight"
_ATTENTION = "backbone.transformer_layers.layers.0.attentions.{}.attn.in_proj_weight"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of these models."""
    is_uniformer = {"backbone.patch_embed1.proj.weight", "backbone.blocks1.0.pos_embed.weight"} <= set(state)
    is_timesformer = {_ATTENTION.format(0), "backbone.cls_token"} <= set(state)
    return is_uniformer or is_timesformer or _VIDEOMAE in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    if _VIDEOMAE in state:
        return convert_videomae(_videomae_keys(state), SOURCE)
    if _ATTENTION.format(0) not in state:
        return convert_uniformer(state, r"backbone\.", _HEAD, SOURCE)
    is_divided = _ATTENTION.format(1) in state
    rules = _timesformer_rules({"0": "temporal_", "1": ""} if is_divided else {"0": ""})
    named = {key.replace(".in_proj_", ".in_proj."): value for key, value in state.items()}
    return compose_timesformer(*rename_all(named, rules, SOURCE), SOURCE, mean=0.5, std=0.5)


def _videomae_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under the keys of VideoMAE's authors."""
    names = {
        r"^backbone\.patch_embed\.projection\.": "patch_embed.proj.",
        r"^backbone\.(blocks\.\d+\.mlp)\.layers\.0\.0\.": r"\1.fc1.",
        r"^backbone\.(blocks\.\d+\.mlp)\.layers\.1\.": r"\1.fc2.",
        r"^backbone\.": "",
        r"^cls_head\.fc_cls\.": "head.",
    }
    found = {}
    for key, value in state.items():
        for old, new in names.items():
            key = re.sub(old, new, key)
        found[key] = value
    return found
