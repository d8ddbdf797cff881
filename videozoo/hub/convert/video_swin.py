"""Video Swin Transformer, the authors' code."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videozoo.hub.convert.base import Converted, ConvertError, Rules, compose, rename_all

__all__ = ["convert", "convert_swin", "matches", "swin_rules"]

SOURCE = "Video Swin authors"
_TABLE = "relative_position_bias_table"
_INDEX = ".relative_position_index"  # follows from the size of a window
_DEPTHS: dict[tuple[int, ...], str] = {(2, 2, 6, 2): "tiny", (2, 2, 18, 2): ""}
_BASE_WIDTHS = {96: "small", 128: "base", 192: "large"}
_WINDOWS = {15 * 13 * 13: "", 31 * 13 * 13: "_w16"}  # by the rows of a table of biases


def swin_rules(norm: str) -> Rules:
    """Return the rules for the authors' keys.

    Args:
        norm: pattern of the last norm.
    """
    block = r"backbone\.layers\.(\d)\.blocks\.(\d+)"
    return [
        (r"backbone\.patch_embed\.(proj|norm)", r"backbone.patch_embed.\1"),
        (rf"{block}\.(norm[12]|attn|attn\.qkv|attn\.proj)", r"backbone.layers.\1.blocks.\2.\3"),
        (rf"{block}\.mlp\.fc1", r"backbone.layers.\1.blocks.\2.mlp.0"),
        (rf"{block}\.mlp\.fc2", r"backbone.layers.\1.blocks.\2.mlp.3"),
        *(
            (rf"backbone\.layers\.{i}\.downsample\.(reduction|norm)", rf"backbone.layers.{i + 1}.downsample.\1")
            for i in range(3)
        ),
        (norm, "backbone.norm"),
        (r"cls_head\.fc_cls", "fc"),
    ]


def matches(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of the authors' Swin transformer for clips."""
    return f"backbone.layers.0.blocks.0.attn.{_TABLE}" in state and "backbone.norm.weight" in state


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert the checkpoint to videozoo's keys.

    32 frames are assumed, as all of the authors' weights take.

    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    return convert_swin(state, swin_rules(r"backbone\.norm"), SOURCE)


def convert_swin(state: Mapping[str, Tensor], rules: Rules, source: str, **cfg: Any) -> Converted:
    """Convert a checkpoint by rules, and read from its shapes which model it is.

    Args:
        state: the state dict.
        rules: as for ``rename_all``.
        source: name for errors.
        cfg: what the source implies for the config.
    Raises:
        ConvertError: a key has no place, or a variant that is not registered.
    """
    indices = tuple(key for key in state if key.endswith(_INDEX))
    new, dropped = rename_all({key: value for key, value in state.items() if key not in indices}, rules, source)
    depths = tuple(
        len({key.split(".")[4] for key in new if key.startswith(f"backbone.layers.{i}.blocks.")}) for i in range(4)
    )
    width, *_, height, side = new["backbone.patch_embed.proj.weight"].shape
    rows, heads = new[f"backbone.layers.0.blocks.0.attn.{_TABLE}"].shape
    size = _DEPTHS.get(depths, "?") or _BASE_WIDTHS.get(width, "?")
    is_known = size != "?" and (height, side) == (4, 4) and heads * 32 == width and rows in _WINDOWS
    backbone = f"swin3d_{size}{_WINDOWS.get(rows, '')}"
    if not is_known or (size == "tiny" and width != 96) or backbone not in _known():
        raise ConvertError(
            f"{source}: Swin with stages of {depths} blocks of {width} channels, {heads} heads and {rows} rows of "
            f"position biases; known are {', '.join(_known())}."
        )
    return compose(new, (*dropped, *indices), backbone, num_frames=32, cfg=cfg)


def _known() -> tuple[str, ...]:
    return ("swin3d_tiny", "swin3d_small", "swin3d_base", "swin3d_base_w16", "swin3d_large")
