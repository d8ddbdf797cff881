"""V-JEPA 2: a ViT on tubelets with rotary positions over three axes, and an attentive pooler."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Attention, Mlp, trunc_normal_
from timm.models import checkpoint, checkpoint_seq
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from videozoo.nets.registry import register_backbone
from videozoo.nets.tokens import Size3d, TokenBackbone, TubeletEmbed, VitCfg, init_linears, layer_norm

__all__ = ["VJepa"]

_SLOWEST = 10000  # the lowest rate of a rotation is one over nearly this many steps


class _RotaryAttention(Attention):
    """timm's attention, with queries and keys rotated by the place of their token."""

    def forward(self, x: Tensor, grid: Size3d) -> Tensor:  # type: ignore[override]
        queries, keys, values = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        cosines, sines = (angles.to(x) for angles in _rotations(grid, self.head_dim, x.device))
        queries, keys = (y * cosines + _turned(y) * sines for y in (queries, keys))
        if self.fused_attn:
            found = F.scaled_dot_product_attention(queries, keys, values)
        else:
            found = self.attn_drop((queries * self.scale @ keys.mT).softmax(-1)) @ values
        return self.proj(found.transpose(1, 2).flatten(2))


class _RotaryBlock(Block):
    """timm's block of a ViT with that attention."""

    def __init__(self, dim: int, num_heads: int, **options: Any) -> None:
        super().__init__(dim, num_heads, **options)
        self.attn = _RotaryAttention(dim, num_heads, qkv_bias=True)

    def forward(self, x: Tensor, grid: Size3d) -> Tensor:  # type: ignore[override]
        x = x + self.drop_path1(self.attn(self.norm1(x), grid))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


def _rotations(grid: Size3d, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (N, width) of the angles of each token's channels.

    A third of them turns by the step in time, a third by the row, and a third by the column. What is left does not
    turn. Rates are those of the authors' code, where channel k turns with channel k + 1 by different angles.
    """
    part = width // 3 // 2 * 2
    rates = 1 / _SLOWEST ** (torch.arange(part // 2, device=device) / (part / 2))
    places = torch.cartesian_prod(*(torch.arange(float(side), device=device) for side in grid))  # (N, 3)
    angles = (places[:, :, None] * rates).repeat(1, 1, 2).flatten(1)
    angles = F.pad(angles, (0, width - angles.shape[1]))
    return angles.cos(), angles.sin()


def _turned(x: Tensor) -> Tensor:
    """Return the channels turned by a right angle in pairs: (a, b) -> (-b, a)."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((-second, first), -1).flatten(-2)


class _CrossAttention(nn.Module):
    """Attention of a query on tokens, without a projection behind it."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        linears = ((self.q_proj, query), (self.k_proj, tokens), (self.v_proj, tokens))
        parts = (linear(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for linear, x in linears)
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


class _AttentivePooler(nn.Module):
    """Blocks on tokens, then a learned query that attends to them: (B, N, C) -> (B, C)."""

    def __init__(self, cfg: VitCfg, depth: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, cfg.width))
        kinds = {"qkv_bias": True, "norm_layer": layer_norm}
        self.blocks = nn.Sequential(*(Block(cfg.width, cfg.num_heads, **kinds) for _ in range(depth)))
        self.norm1 = layer_norm(cfg.width)
        self.attn = _CrossAttention(cfg.width, cfg.num_heads)
        self.norm2 = layer_norm(cfg.width)
        self.mlp = Mlp(cfg.width, 4 * cfg.width)

    def forward(self, x: Tensor, is_checkpointed: bool = False) -> Tensor:
        x = checkpoint_seq(self.blocks, x) if is_checkpointed else self.blocks(x)
        query = self.query.expand(x.shape[0], -1, -1)
        query = query + self.attn(query, self.norm1(x))
        return (query + self.mlp(self.norm2(query)))[:, 0]


class VJepa(TokenBackbone):
    """The ViT of V-JEPA 2 on clips, with the classifier's pooler.

    Assran et al., 2025 (arXiv:2506.09985), as in transformers. Blocks are timm's of a ViT, with rotary attention. There
    is no table of positions, so clips may have any size and any even number of frames. There is no class token:
    ``forward_head`` pools the tokens by three blocks and a learned query. The authors train this pooler and the
    classifier alone, on a frozen encoder.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Tokens (B, T/2 * H/16 * W/16, num_features).
    """

    num_prefix_tokens = 0

    def __init__(
        self,
        cfg: VitCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.patch_size = cfg.patch_size
        self.patch_embed = TubeletEmbed(in_chans, cfg.width, self.patch_size)
        self.blocks = cfg.blocks(_RotaryBlock, drop_path_rate)
        self.norm = layer_norm(cfg.width)
        self.pooler = _AttentivePooler(cfg, 3)
        init_linears(self)
        trunc_normal_(self.pooler.query, std=0.02)
        self._finish_tokens(cfg.width, num_classes, drop_rate)
        self.frames_multiple = self.least_frames = cfg.tubelet

    def _embed(self, x: Tensor) -> Tensor:
        return self.patch_embed(x)

    def _advance(self, stage: nn.Module, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        tokens, grid = state
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, tokens, grid), grid
        return stage(tokens, grid), grid

    def _pool(self, tokens: Tensor) -> Tensor:
        return self.pooler(tokens, is_checkpointed=self.grad_checkpointing and torch.is_grad_enabled())

    def no_weight_decay(self) -> set[str]:
        """Return the name of the pooler's query."""
        return {"pooler.query"}


register_backbone(
    "vjepa2_vit_large",
    partial(VJepa, VitCfg(1024, depth=24, num_heads=16)),
    "The ViT-L/16 of V-JEPA 2.",
    first_conv="patch_embed.proj",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
