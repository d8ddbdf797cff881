"""Hiera: a ViT in four stages with nothing but attention, whose first two stages attend within windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import calculate_drop_path_rates, trunc_normal_
from timm.models.hiera import HieraBlock
from torch import Tensor, nn

from videozoo.nets.registry import HALF, register_backbone
from videozoo.nets.tokens import Size3d, StagedTokenBackbone, TubeletEmbed, init_linears, layer_norm

__all__ = ["Hiera", "HieraCfg"]

_PATCH = (2, 4, 4)  # strides of the first convolution
_SIDE = 8  # tokens of a window's side in the first stage. Each next one halves it
_FRAME = _PATCH[1] * _SIDE  # pixels of that side
_WINDOWED = 2  # stages that attend within windows


@dataclass(frozen=True)
class HieraCfg:
    """One model of the family. The defaults are Hiera-B.

    Args:
        depths: blocks of the four stages. Each stage but the first begins with a block that halves height and width.
        width: channels of the first stage. Each next one has twice as many.
        num_heads: heads of an attention in the first stage. Each next one has twice as many.
        frames: of the clips that the tables of positions are for.
        img_size: pixels of a side of their frames.
    """

    depths: tuple[int, int, int, int] = (2, 3, 16, 3)
    width: int = 96
    num_heads: int = 1
    frames: int = 16
    img_size: int = 224


class Hiera(StagedTokenBackbone):
    """Hiera on clips.

    Ryali et al., 2023 (arXiv:2306.00989). Blocks are timm's. Attention of the first two stages is within windows of
    one step in time and 32x32 pixels, then over all tokens. There is no class token: the tokens are averaged, then
    normalized by ``fc_norm``, and ``norm`` does nothing. Keys are those of the authors' code, but ``fc_norm``.

    Tokens are in an order of their own, in which those that a later stage pools into one are equally far apart.
    `tokens_to_maps` undoes it. Clips may have another number of frames than the tables of positions are for, and
    frames another size. The tables are interpolated, bicubic over space as timm does it and linearly over time. Frames
    are filled with zeros up to a multiple of 32 pixels.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Tokens (B, ceil(T / 2) * ceil(H / 32) * ceil(W / 32), num_features).
    """

    num_prefix_tokens = 0
    patch_size = _PATCH

    def __init__(
        self,
        cfg: HieraCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg, self.depths = cfg, cfg.depths
        self.own_grid = self.grid_of((cfg.frames, cfg.img_size, cfg.img_size))
        frames, height, width = self.own_grid
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, height * width, cfg.width))
        self.pos_embed_temporal = nn.Parameter(torch.zeros(1, frames, cfg.width))
        self.patch_embed = TubeletEmbed(in_chans, cfg.width, (3, 7, 7), _PATCH, (1, 3, 3))
        self.blocks = nn.ModuleList(_make_blocks(cfg, drop_path_rate))
        widths = [cfg.width * 2**k for k in range(4)]
        self.norm = nn.Identity()
        self.fc_norm = layer_norm(widths[-1])
        init_linears(self)
        trunc_normal_(self.pos_embed_spatial, std=0.02)
        trunc_normal_(self.pos_embed_temporal, std=0.02)
        self._finish_stages("patch_embed", (cfg.width, *widths), num_classes, drop_rate)

    def grid_of(self, clip_size: Size3d) -> Size3d:
        """Return the number of tokens over time, height and width before the first stage."""
        frames, height, width = clip_size
        return -(-frames // _PATCH[0]), -(-height // _FRAME) * _SIDE, -(-width // _FRAME) * _SIDE

    def _embed(self, x: Tensor) -> Tensor:
        frames, height, width = x.shape[2:]
        x = F.pad(x, (0, -width % _FRAME, 0, -height % _FRAME))
        grid = self.grid_of((frames, height, width))
        space = self._positions(self.pos_embed_spatial, grid[1:], self.own_grid[1:])
        time: Tensor = self.pos_embed_temporal
        if grid[0] != self.own_grid[0]:
            time = F.interpolate(time.transpose(1, 2), grid[0], mode="linear").transpose(1, 2)
        tokens = self.patch_embed(x) + (space[:, None] + time[:, :, None]).flatten(1, 2)
        # (B, T', Y, 2, 2, 2, X, 2, 2, 2, C): the place in a window of 8x8 by halves, quarters and eighths of its side.
        # The eighths come first, as the first pooling is over them, then quarters, halves, and the windows.
        parts = tokens.unflatten(1, (grid[0], grid[1] // _SIDE, 2, 2, 2, grid[2] // _SIDE, 2, 2, 2))
        return parts.permute(0, 5, 9, 4, 8, 3, 7, 1, 2, 6, 10).flatten(1, 9)

    def _to_maps(self, tokens: Tensor, grid: Size3d) -> Tensor:
        frames, height, width = grid[0], grid[1] // _SIDE, grid[2] // _SIDE
        levels = (tokens.shape[1] // (frames * height * width)).bit_length() // 2  # 4**levels tokens of a window
        parts = tokens.unflatten(1, (*[2] * (2 * levels), frames, height, width))
        first = 1 + 2 * levels
        rows, columns = range(first - 2, 0, -2), range(first - 1, 1, -2)
        parts = parts.permute(0, first + 3, first, first + 1, *rows, first + 2, *columns)
        return parts.flatten(4 + levels).flatten(3, 3 + levels)  # (B, C, T', H', W')

    def _pool(self, tokens: Tensor) -> Tensor:
        return self.fc_norm(super()._pool(tokens))

    def no_weight_decay(self) -> set[str]:
        """Return the names of the tables of positions."""
        return {"pos_embed_spatial", "pos_embed_temporal"}


def _make_blocks(cfg: HieraCfg, drop_path_rate: float) -> Iterator[HieraBlock]:
    """Yield the blocks. The first of a stage pools queries, and attends as those of the stage before it do."""
    rates: Any = iter(calculate_drop_path_rates(drop_path_rate, sum(cfg.depths)))
    for stage, depth in enumerate(cfg.depths):
        for i in range(depth):
            before = stage - (i == 0 and stage > 0)
            yield HieraBlock(
                cfg.width * 2**before,
                cfg.width * 2**stage,
                cfg.num_heads * 2**stage,
                drop_path=next(rates),
                norm_layer=layer_norm,
                q_stride=4 ** (stage - before),
                window_size=_SIDE**2 // 4**stage,
                use_mask_unit_attn=before < _WINDOWED,
            )


register_backbone(
    "hiera_base_16x224", partial(Hiera, HieraCfg()), "Hiera-B on clips.", first_conv="patch_embed.proj", **HALF
)
