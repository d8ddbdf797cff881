"""TimeSformer, the authors' code."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["compose_timesformer", "convert", "matches"]

SOURCE = "TimeSformer authors"
_RULES: Rules = [
    (r"(patch_embed\.proj|norm|blocks\.\d+\.(?:norm[12]|temporal_norm1|temporal_fc|mlp\.fc[12]))", r"backbone.\1"),
    (r"(blocks\.\d+\.(?:temporal_)?attn\.(?:qkv|proj))", r"backbone.\1"),
    (r"", "backbone"),  # the class token and embeddings
    (r"head", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' models with attention over time.

    Those of their model without are the keys of any ViT.
    """
    return {"time_embed", "pos_embed", "blocks.0.attn.qkv.weight"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return compose_timesformer(*rename_all(state, _RULES, SOURCE), SOURCE, mean=0.45, std=0.225)


def compose_timesformer(
    new: dict[str, Tensor], dropped: tuple[str, ...], source: str, *, mean: float, std: float
) -> Converted:
    """Put the renamed state and the composition together.

    The kind of attention, the number of frames and their size are read from the keys and shapes.

    Args:
        new, dropped: as ``rename_all`` gives them.
        source: name for errors.
        mean, std: what the source normalizes frames by, the same for each color.
    Raises:
        ConvertError: a variant that is not registered.
    """
    first, places = new.get("backbone.patch_embed.proj.weight"), new.get("backbone.pos_embed")
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.blocks.")})
    if first is None or places is None or (depth, first.shape[0], first.shape[-1]) != (12, 768, 16):
        shape = None if first is None else tuple(first.shape)
        raise ConvertError(
            f"{source}: TimeSformer of {depth} blocks on patches {shape}; known is ViT-B/16: 12 blocks on patches "
            "(768, 3, 16, 16)."
        )
    time = new.get("backbone.time_embed")
    has_temporal = "backbone.blocks.0.temporal_fc.weight" in new
    suffix = "" if has_temporal else "_space" if time is None else "_joint"
    frames = 8 if time is None else time.shape[1]
    cfg: dict[str, Any] = {"mean": (mean,) * 3, "std": (std,) * 3}
    converted = compose(new, dropped, f"timesformer_base{suffix}", num_frames=frames, cfg=cfg)
    side = 16 * math.isqrt(places.shape[1] - 1)
    if side != 224:
        converted.spec["img_size"] = side
    return converted
