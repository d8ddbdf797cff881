"""VideoMAE and ViViT of Hugging Face's transformers, 4.x and 5.x."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all
from videozoo.hub.convert.videomae import convert_videomae

__all__ = ["convert", "join_qkv", "matches"]

SOURCE = "transformers"
_TUBELETS = "embeddings.patch_embeddings.projection.weight"
_VIVIT = "vivit.embeddings.cls_token"
# Our names in a block, of the names there. Version 5 gave ViViT's other names, and VideoMAE's biases.
_IN_BLOCKS = {
    r"layernorm_before\.": "norm1.",
    r"layernorm_after\.": "norm2.",
    r"attention\.(?:output\.dense|o_proj)\.": "attn.proj.",
    r"attention\.attention\.(q_bias|v_bias)": r"attn.\1",
    r"attention\.(?:attention\.query|q_proj)\.": "attn.q.",
    r"attention\.(?:attention\.key|k_proj)\.": "attn.k.",
    r"attention\.(?:attention\.value|v_proj)\.": "attn.v.",
    r"(?:intermediate\.dense|mlp\.fc1)\.": "mlp.fc1.",
    r"(?:output\.dense|mlp\.fc2)\.": "mlp.fc2.",
}
_VIVIT_RULES: Rules = [
    (r"embeddings", "backbone"),
    (r"patch_embed\.proj", r"backbone.patch_embed.proj"),
    (r"(blocks\.\d+\.(?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12]))", r"backbone.\1"),
    (r"layernorm", "backbone.norm"),
    (r"pooler\.dense", ""),
    (r"classifier", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of one of these models, with a head or without."""
    return _VIVIT in state or any(
        f"{start}{_TUBELETS}" in state
        and state[f"{start}{_TUBELETS}"].ndim == 5
        and f"{start}encoder.layer.0.attention.attention.query.weight" in state
        for start in ("videomae.", "")
    )


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    named = {}
    for key, value in state.items():
        key = re.sub(r"^(?:videomae|vivit)\.", "", key)
        key = re.sub(r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj.", key)
        block = re.match(r"(?:encoder\.layer|layers)\.(\d+)\.", key)
        if block:
            rest = key[block.end() :]
            for old, new in _IN_BLOCKS.items():
                rest, count = re.subn(f"^{old}", new, rest)
                if count:
                    break
            key = f"blocks.{block[1]}.{rest}"
        named[key] = value
    if _VIVIT in state:
        return _convert_vivit(join_qkv(named, has_key_bias=True))
    named = {re.sub(r"^layernorm\.", "norm.", re.sub(r"^classifier\.", "head.", key)): x for key, x in named.items()}
    return convert_videomae(join_qkv(named, has_key_bias=False), SOURCE)


def join_qkv(state: Mapping[str, Tensor], has_key_bias: bool) -> dict[str, Tensor]:
    """Return the state with the weights of queries, keys and values as one, and their biases if keys have any.

    Args:
        state: tensors, of which ``attn.q``, ``attn.k`` and ``attn.v`` become ``attn.qkv``.
        has_key_bias: keys have biases. If they have none, those of queries and values stay apart.
    """
    joined = dict(state)
    for key in state:
        start, dot, leaf = key.rpartition(".attn.q.")
        if not dot:
            continue
        if leaf == "bias" and not has_key_bias:
            for name in ("q", "v"):
                if (bias := joined.pop(f"{start}.attn.{name}.bias", None)) is not None:
                    joined[f"{start}.attn.{name}_bias"] = bias
            continue
        names = [f"{start}.attn.{name}.{leaf}" for name in "qkv"]
        if all(name in state for name in names):
            joined[f"{start}.attn.qkv.{leaf}"] = torch.cat([joined.pop(name) for name in names])
    return joined


def _convert_vivit(state: dict[str, Tensor]) -> Converted:
    named = {key.replace("position_embeddings", "pos_embed"): value for key, value in state.items()}
    new, dropped = rename_all(named, _VIVIT_RULES, SOURCE)
    first, places = new.get("backbone.patch_embed.proj.weight"), new.get("backbone.pos_embed")
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.blocks.")})
    shape = () if first is None else tuple(first.shape)
    count = 0 if places is None else places.shape[1] - 1
    if (depth, *shape[:1], *shape[2:]) != (12, 768, 2, 16, 16) or count % 196 or not count:
        raise ConvertError(
            f"{SOURCE}: ViViT of {depth} blocks on tubelets {shape} with {count} positions; known is ViT-B/16x2: "
            "12 blocks on tubelets (768, 3, 2, 16, 16), frames of 224 pixels."
        )
    cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    converted = compose(new, dropped, "vivit_base_16x2", num_frames=count // 196 * 2, cfg=cfg)
    if "fc.weight" not in new:
        converted.spec["num_classes"] = 0
    return converted
