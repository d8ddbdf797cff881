"""TimeSformer of Hugging Face's transformers."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules, rename_all
from videozoo.hub.convert.timesformer import compose_timesformer

__all__ = ["convert", "matches"]

SOURCE = "transformers"
_EMBEDDINGS = "timesformer.embeddings"
_NAMES = {"position_embeddings": "pos_embed", "time_embeddings": "time_embed"}
_RULES: Rules = [
    (_EMBEDDINGS, "backbone"),
    (rf"{_EMBEDDINGS}\.patch_embeddings\.projection", "backbone.patch_embed.proj"),
    *(
        (rf"timesformer\.encoder\.layer\.(\d+)\.{old}", rf"backbone.blocks.\1.{new}")
        for old, new in {
            r"layernorm_before": "norm1",
            r"layernorm_after": "norm2",
            r"temporal_layernorm": "temporal_norm1",
            r"temporal_dense": "temporal_fc",
            r"attention\.attention\.qkv": "attn.qkv",
            r"attention\.output\.dense": "attn.proj",
            r"temporal_attention\.attention\.qkv": "temporal_attn.qkv",
            r"temporal_attention\.output\.dense": "temporal_attn.proj",
            r"intermediate\.dense": "mlp.fc1",
            r"output\.dense": "mlp.fc2",
        }.items()
    ),
    (r"timesformer\.layernorm", "backbone.norm"),
    (r"classifier", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of transformers' TimeSformer."""
    return f"{_EMBEDDINGS}.position_embeddings" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    named = {}
    for key, value in state.items():
        start, _, leaf = key.rpartition(".")
        named[f"{start}.{_NAMES.get(leaf, leaf)}"] = value
    return compose_timesformer(*rename_all(named, _RULES, SOURCE), SOURCE, mean=0.45, std=0.225)
