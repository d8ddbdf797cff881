"""torchvision's Video Swin Transformer."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, Rules
from videozoo.hub.convert.video_swin import convert_swin

__all__ = ["convert", "matches"]

_RULES: Rules = [
    (r"patch_embed\.(proj|norm)", r"backbone.patch_embed.\1"),
    *(
        (
            rf"features\.{2 * i}\.(\d+\.(?:norm[12]|attn|attn\.qkv|attn\.proj|mlp\.[03]))",
            rf"backbone.layers.{i}.blocks.\1",
        )
        for i in range(4)
    ),
    *((rf"features\.{2 * i - 1}\.(reduction|norm)", rf"backbone.layers.{i}.downsample.\1") for i in (1, 2, 3)),
    ("norm", "backbone.norm"),
    ("head", "fc"),
]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys and shapes are those of ``torchvision.models.video.SwinTransformer3d``."""
    weight = state.get("patch_embed.proj.weight")
    return weight is not None and weight.ndim == 5 and "features.0.0.attn.relative_position_bias_table" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    32 frames are assumed, as torchvision's weights were evaluated.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_swin(state, _RULES, "torchvision's Swin3D")
