"""V-JEPA 2 with a classifier, of Hugging Face's transformers."""

import re
from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all
from videozoo.hub.convert.vits_hf import join_qkv

__all__ = ["convert", "matches"]

SOURCE = "transformers"
KNOWN = ((1024, 3, 2, 16, 16), (24, 3))  # tubelets, blocks of the encoder and of the pooler
_TUBELETS = "vjepa2.encoder.embeddings.patch_embeddings.proj.weight"
_QUERY = "pooler.query_tokens"
_BLOCK = r"(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])"
_RULES: Rules = [
    (rf"((?:patch_embed\.proj|norm|(?:pooler\.)?blocks\.\d+\.{_BLOCK}))", r"backbone.\1"),
    (r"(pooler\.(?:norm[12]|attn\.[qkv]_proj|mlp\.fc[12]))", r"backbone.\1"),
    (r"classifier", "fc"),
]
# Our names for parts of the names there.
_NAMES = {
    r"^vjepa2\.encoder\.embeddings\.patch_embeddings\.": "patch_embed.",
    r"^vjepa2\.encoder\.layer\.": "blocks.",
    r"^vjepa2\.encoder\.layernorm\.": "norm.",
    r"^pooler\.self_attention_layers\.": "pooler.blocks.",
    r"^pooler\.cross_attention_layer\.": "pooler.",
    r"\.layer_norm([12])\.": r".norm\1.",
    r"\.cross_attn\.": ".attn.",
    r"\.self_attn\.([qkv])_proj\.": r".attn.\1.",
    r"\.self_attn\.out_proj\.": ".attn.proj.",
    r"\.attention\.(q|k|v)(?:uery|ey|alue)\.": r".attn.\1.",
    r"\.attention\.proj\.": ".attn.proj.",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of V-JEPA 2 with its pooler."""
    return {_TUBELETS, _QUERY} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    The number of frames cannot be read from the keys. 16 is assumed.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    named = {}
    for key, value in state.items():
        for theirs, ours in _NAMES.items() if not key.startswith("vjepa2.predictor.") else ():
            key = re.sub(theirs, ours, key)
        named[key] = value
    query, dropped = named.pop(_QUERY), tuple(key for key in named if key.startswith("vjepa2.predictor."))
    rest = {key: value for key, value in named.items() if key not in dropped}
    new, _ = rename_all(join_qkv(rest, has_key_bias=True), _RULES, SOURCE)
    shape = tuple(named["patch_embed.proj.weight"].shape)
    depths = tuple(
        len({key.split("blocks.")[1].split(".")[0] for key in new if key.startswith(f"backbone.{start}blocks.")})
        for start in ("", "pooler.")
    )
    if (shape, depths) != KNOWN:
        raise ConvertError(
            f"{SOURCE}: V-JEPA 2 of {depths[0]} blocks on tubelets {shape} and {depths[1]} of its pooler; known is "
            f"ViT-L: {KNOWN[1][0]} blocks on tubelets {KNOWN[0]} and {KNOWN[1][1]}."
        )
    cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return compose(new | {"backbone.pooler.query": query}, dropped, "vjepa2_vit_large", num_frames=16, cfg=cfg)
