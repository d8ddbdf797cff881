"""ViViT: a ViT on tubelets of a clip, with a class token and learned positions."""

from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import GELUTanh, trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from videozoo.nets.registry import register_backbone
from videozoo.nets.tokens import Size3d, TokenBackbone, TubeletEmbed, VitCfg, init_linears, layer_norm

__all__ = ["ViViT"]


class ViViT(TokenBackbone):
    """ViViT with joint attention over space and time (the paper's Model 1) on clips.

    Arnab et al., 2021 (arXiv:2103.15691), as in transformers: blocks are timm's of a ViT, with the fast form of GELU.

    Frames of another size than ``img_size`` are possible: position embeddings are interpolated over height and width,
    bicubic. They fit one number of frames.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
        num_frames: frames of a clip, which the position embeddings are for.
        img_size: pixels of a frame's side, which the position embeddings are for.
    Shape:
        input (B, C, T, H, W). Tokens (B, 1 + T/2 * H/16 * W/16, num_features), the class token first.
    """

    def __init__(
        self,
        cfg: VitCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        num_frames: int = 32,
        img_size: int = 224,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.patch_size = cfg.patch_size
        self.own_grid = self.grid_of((num_frames, img_size, img_size))
        self.num_segments = self.fixed_segments = num_frames
        self.cls_token = nn.Parameter(torch.zeros(1, 1, cfg.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.own_grid[0] * self.own_grid[1] ** 2, cfg.width))
        self.patch_embed = TubeletEmbed(in_chans, cfg.width, self.patch_size)
        self.blocks = cfg.blocks(Block, drop_path_rate, act_layer=GELUTanh)
        self.norm = layer_norm(cfg.width)
        init_linears(self)
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
        self._finish_tokens(cfg.width, num_classes, drop_rate)
        self.frames_multiple = self.least_frames = cfg.tubelet

    def _embed(self, x: Tensor) -> Tensor:
        grid = self.grid_of((x.shape[2], x.shape[3], x.shape[4]))
        if grid[0] != self.own_grid[0]:
            raise ValueError(
                f"ViViT: clips have {x.shape[2]} frames, the position embeddings are for {self.fixed_segments}; "
                f"build the model with num_frames={x.shape[2]}."
            )
        token = self.cls_token.expand(x.shape[0], -1, -1)
        return torch.cat((token, self.patch_embed(x)), 1) + _resample(self.pos_embed, self.own_grid, grid)

    def adapt_positions(self, state: dict[str, Tensor], prefix: str = "") -> None:
        """Interpolate embeddings of other weights for this model's frames and their size, in place.

        Those of space as timm does it, those of time by the nearest, as TimeSformer's authors do.

        Raises:
            ValueError: it is not known how many frames they are for, as their grid of patches is no square.
        """
        places = state[f"{prefix}pos_embed"]
        count = places.shape[1] - 1
        own = self._grid_of_weights(count)
        state[f"{prefix}pos_embed"] = _resample(places, own, self.own_grid)

    def _grid_of_weights(self, count: int) -> Size3d:
        """Return the grid of weights with so many positions: of this model's size, or of its number of frames."""
        frames, side = self.own_grid[0], self.own_grid[1]
        if count % side**2 == 0:
            return count // side**2, side, side
        other = round((count / frames) ** 0.5)
        if frames * other**2 == count:
            return frames, other, other
        raise ValueError(
            f"ViViT: weights have {count} position embeddings, the model {frames} x {side} x {side}; change the number "
            "of frames or their size, one at a time."
        )


def _resample(places: Tensor, own: Size3d, grid: Size3d) -> Tensor:
    """Interpolate position embeddings (1, 1 + N, C) of one grid for another. That of the class token stays."""
    if own == grid:
        return places
    maps = places[:, 1:].unflatten(1, own)[0].permute(0, 3, 1, 2).float()  # (T', C, H', W')
    if own[1:] != grid[1:]:
        maps = F.interpolate(maps, grid[1:], mode="bicubic", antialias=True)
    if own[0] != grid[0]:
        maps = maps[torch.arange(grid[0], device=maps.device) * own[0] // grid[0]]
    return torch.cat((places[:, :1], maps.permute(0, 2, 3, 1).flatten(0, 2)[None].to(places)), 1)


register_backbone(
    "vivit_base_16x2",
    partial(ViViT, VitCfg()),
    "ViViT-B/16x2 with joint attention over space and time.",
    has_positions=True,
    first_conv="patch_embed.proj",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
