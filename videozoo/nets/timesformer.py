"""TimeSformer: a ViT on frames, whose blocks attend over time and over space."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.layers import Attention, trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from videozoo.nets.registry import register_backbone
from videozoo.nets.tokens import Size3d, TokenBackbone, VitCfg, init_linears, layer_norm

__all__ = ["TimeSformer"]

_Attention = Literal["divided", "joint", "space"]


class _PatchEmbed(nn.Module):
    """Patches of frames: (B, C, T, H, W) -> (B*T, H' * W', width)."""

    def __init__(self, in_chans: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)


class _DividedBlock(Block):
    """A block of timm's ViT with an attention over time before that over space.

    Section 3.2 of the paper. The class token does not take part in the attention over time. It attends to every frame,
    and the mean of the results is added to it.

    Shape:
        tokens (B, 1 + T*P, C) of P patches, output the same.
    """

    def __init__(self, dim: int, num_heads: int, num_frames: int, **options: Any) -> None:
        super().__init__(dim, num_heads, **options)
        self.num_frames = num_frames
        self.temporal_norm1 = layer_norm(dim)
        self.temporal_attn = Attention(dim, num_heads, qkv_bias=True)
        self.temporal_fc = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        token, patches = x[:, :1], x[:, 1:].unflatten(1, (self.num_frames, -1))  # (B, T, P, C)
        batch, frames, places, _ = patches.shape
        series = patches.transpose(1, 2).flatten(0, 1)  # (B*P, T, C)
        series = self.drop_path1(self.temporal_attn(self.temporal_norm1(series)))
        patches = patches + self.temporal_fc(series.unflatten(0, (batch, places)).transpose(1, 2))
        tokens = token[:, None].expand(-1, frames, -1, -1)
        seen = torch.cat((tokens, patches), 2).flatten(0, 1)  # (B*T, 1 + P, C)
        seen = self.drop_path1(self.attn(self.norm1(seen))).unflatten(0, (batch, frames))
        token = token + seen[:, :, :1].mean(1)
        x = torch.cat((token, (patches + seen[:, :, 1:]).flatten(1, 2)), 1)
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class TimeSformer(TokenBackbone):
    """TimeSformer on clips.

    Bertasius et al., 2021 (arXiv:2102.05095). Arithmetic and keys are those of the authors' code, which are timm's for
    a ViT, with ``time_embed`` and ``temporal_*`` in addition.

    Frames of another size than ``img_size`` are possible: position embeddings of space are interpolated as timm does
    it, bicubic. The authors take the nearest. Time embeddings fit one number of frames.

    Args:
        cfg: the ViT on frames.
        attention: ``"divided"``: over time, then over space. ``"joint"``: over all tokens at once. ``"space"``: over
            the tokens of each frame, and the frames' tokens are averaged at the end.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
        num_frames: frames of a clip, which the time embeddings are for.
        img_size: pixels of a frame's side, which the position embeddings are for.
    Shape:
        input (B, C, T, H, W). Tokens (B, 1 + T * H/16 * W/16, num_features), the class token first, or with attention
            over space alone (B, 1 + H/16 * W/16, num_features), averaged over frames.
    """

    def __init__(
        self,
        cfg: VitCfg,
        attention: _Attention = "divided",
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        num_frames: int = 8,
        img_size: int = 224,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.mixes_time = attention != "space"
        self.patch_size = cfg.patch_size
        _, *own_grid = self.grid_of((num_frames, img_size, img_size))
        self.own_grid = own_grid[0], own_grid[1]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, cfg.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + own_grid[0] * own_grid[1], cfg.width))
        self.time_embed: nn.Parameter | None = None
        if self.mixes_time:
            self.time_embed = nn.Parameter(torch.zeros(1, num_frames, cfg.width))
            self.num_segments = self.fixed_segments = num_frames
        self.patch_embed = _PatchEmbed(in_chans, cfg.width, cfg.patch)
        make = partial(_DividedBlock, num_frames=num_frames) if attention == "divided" else Block
        self.blocks = cfg.blocks(make, drop_path_rate)
        self.norm = layer_norm(cfg.width)
        self._init_weights()
        self._finish_tokens(cfg.width, num_classes, drop_rate)

    def _init_weights(self) -> None:
        init_linears(self)
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
        for block in self.blocks[1:]:  # attention over time does nothing at first, as the authors have it
            if isinstance(block, _DividedBlock):
                nn.init.zeros_(block.temporal_fc.weight)

    def _embed(self, x: Tensor) -> Tensor:
        frames, height, width = self.grid_of((x.shape[2], x.shape[3], x.shape[4]))
        if self.time_embed is not None and frames != self.time_embed.shape[1]:
            raise ValueError(
                f"TimeSformer: clips have {frames} frames, the time embeddings are for {self.time_embed.shape[1]}; "
                f"build the model with num_frames={frames}."
            )
        places = self._positions(self.pos_embed, (height, width), self.own_grid)
        token = self.cls_token + places[:, :1]
        patches = self.patch_embed(x) + places[:, 1:]  # (B*T, P, C)
        if self.time_embed is not None:
            patches = patches.unflatten(0, (-1, frames)) + self.time_embed[:, :, None]
            patches = patches.flatten(1, 2)  # (B, T*P, C)
        return torch.cat((token.expand(patches.shape[0], -1, -1), patches), 1)

    def _end(self, state: tuple[Tensor, Size3d]) -> Tensor:
        tokens, grid = state
        if self.time_embed is None:
            tokens = tokens.unflatten(0, (-1, grid[0])).mean(1)
        return self.norm(tokens)

    def adapt_positions(self, state: dict[str, Tensor], prefix: str = "") -> None:
        """Interpolate embeddings of other weights for this model's frames and their size, in place.

        Those of space as timm does it, those of time by the nearest, as the authors do.
        """
        places, times = state[f"{prefix}pos_embed"], state.get(f"{prefix}time_embed")
        side = round((places.shape[1] - 1) ** 0.5)
        state[f"{prefix}pos_embed"] = self._positions(places, self.own_grid, (side, side))
        if times is not None and self.time_embed is not None:
            own = F.interpolate(times.transpose(1, 2), self.time_embed.shape[1], mode="nearest")
            state[f"{prefix}time_embed"] = own.transpose(1, 2).contiguous()

    def from_image_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights for this model from those of timm's ViT, as the authors start.

        Attention over time and its norm are copies of those over space. What a ViT lacks besides, time embeddings and
        ``temporal_fc``, stays as it is here. A classifier is left out.
        """
        found = {key: value for key, value in state.items() if not key.startswith("head.")}
        self.adapt_positions(found)
        for key, value in self.state_dict().items():
            if "temporal_fc." in key or key == "time_embed":
                found.setdefault(key, value)
            elif ".temporal_" in key:
                found.setdefault(key, found[key.replace(".temporal_", ".")].clone())
        return found


_KINDS: dict[str, tuple[_Attention, str]] = {
    "": ("divided", "divided space-time attention"),
    "_joint": ("joint", "joint space-time attention"),
    "_space": ("space", "attention over space alone"),
}
for _suffix, (_attention, _what) in _KINDS.items():
    register_backbone(
        f"timesformer_base{_suffix}",
        partial(TimeSformer, VitCfg(tubelet=1), _attention),
        f"TimeSformer on ViT-B/16, {_what}.",
        has_positions=True,
        image_model="vit_base_patch16_224",
        first_conv="patch_embed.proj",
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )
