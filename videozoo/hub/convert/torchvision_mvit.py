"""torchvision's MViT."""

from collections.abc import Mapping

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["BLOCK", "convert", "convert_mvit", "matches"]

SOURCE = "torchvision's MViT"
BLOCK = r"(blocks\.\d+)"  # group 1 of the rules
_RULES: Rules = [
    (r"(conv_proj|pos_encoding|norm)", r"backbone.\1"),
    (rf"{BLOCK}\.(norm[12]|project|mlp\.[03]|attn|attn\.qkv|attn\.project\.0)", r"backbone.\1.\2"),
    (rf"{BLOCK}\.attn\.(pool_[qkv]\.(?:pool|norm_act\.0))", r"backbone.\1.attn.\2"),
    (r"head\.1", "fc"),
]
# By blocks, width, whether positions are relative, and the first block that widens: the backbone and its frames.
_SIZES: dict[tuple[int, int, bool, int], tuple[str, int]] = {
    (16, 96, False, 0): ("mvit_v1_base", 16),
    (16, 96, True, 1): ("mvit_v2_small", 16),
    (16, 96, True, 0): ("mvit_v2_small_mlp", 16),
    (24, 96, True, 2): ("mvit_v2_base", 32),
    (48, 144, True, 2): ("mvit_v2_large", 40),
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of ``torchvision.models.video.MViT``."""
    return {"conv_proj.weight", "pos_encoding.class_token", "blocks.0.attn.qkv.weight"} <= set(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_mvit(state, _RULES, SOURCE)


def convert_mvit(state: Mapping[str, Tensor], rules: Rules, source: str) -> Converted:
    """Convert a checkpoint by rules, and read from its shapes which model it is.

    Args:
        state: the state dict. Class token and positions have torchvision's shapes.
        rules: as for ``rename_all``.
        source: name for errors.
    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    new, dropped = rename_all(state, rules, source)
    depth = len({key.split(".")[2] for key in new if key.startswith("backbone.blocks.")})
    width = new["backbone.conv_proj.weight"].shape[0]
    is_relative = "backbone.blocks.0.attn.rel_pos_t" in new
    widened = next((i for i in range(depth) if f"backbone.blocks.{i}.project.weight" in new), -1)
    known = _SIZES.get((depth, width, is_relative, widened))
    if known is None:
        raise ConvertError(
            f"{source}: MViT of {depth} blocks of {width} channels, {'relative' if is_relative else 'absolute'} "
            f"positions, widened first in block {widened}; known are {', '.join(name for name, _ in _SIZES.values())}."
        )
    backbone, frames = known
    if not is_relative and new["backbone.pos_encoding.temporal_pos"].shape[0] == 16:
        backbone, frames = "mvit_v1_base_32", 32
    cfg = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
    return compose(new, dropped, backbone, num_frames=frames, cfg=cfg)
