"""Base of backbones that hand tokens, not maps, from block to block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import calculate_drop_path_rates, resample_abs_pos_embed, trunc_normal_
from timm.models import checkpoint
from torch import Tensor, nn

from videozoo.nets.base import Backbone

__all__ = [
    "Size3d",
    "StagedTokenBackbone",
    "TokenBackbone",
    "TubeletEmbed",
    "VitCfg",
    "init_linears",
    "layer_norm",
]

Size3d = tuple[int, int, int]  # over time, height, width
layer_norm: Any = partial(nn.LayerNorm, eps=1e-6)  # of ViTs; timm asks for a class, but only calls it


@dataclass(frozen=True)
class VitCfg:
    """A ViT on clips. The defaults are ViT-B/16.

    Args:
        width: channels of a token.
        depth: number of blocks.
        num_heads: heads of an attention.
        patch: pixels of a patch over height and width.
        tubelet: frames of a patch.
    """

    width: int = 768
    depth: int = 12
    num_heads: int = 12
    patch: int = 16
    tubelet: int = 2

    @property
    def patch_size(self) -> Size3d:
        """Pixels of a patch over time, height and width."""
        return self.tubelet, self.patch, self.patch

    def blocks(self, make: Callable[..., nn.Module], drop_path_rate: float, **options: Any) -> nn.ModuleList:
        """Return the blocks, whose rates of stochastic depth rise to ``drop_path_rate``.

        Args:
            make: timm's block of a ViT, or one with its arguments.
            drop_path_rate: of the last block.
            options: more arguments of every block.
        """
        options |= {"qkv_bias": True, "norm_layer": layer_norm}
        rates: Any = calculate_drop_path_rates(drop_path_rate, self.depth)
        return nn.ModuleList(make(self.width, self.num_heads, drop_path=rate, **options) for rate in rates)


class TokenBackbone(Backbone):
    """Base of transformers on the tokens of a clip, with the interface of timm's ViTs.

    ``forward_features`` returns normalized tokens (B, N, C), those without a place (the class token) first.
    ``forward_head`` takes the class token, or averages if there is none. ``forward_intermediates`` returns maps
    (B, C, T', H', W') of the embedding and of every block. With its ``norm`` the last norm is applied to them.

    A subclass creates ``patch_embed``, ``blocks`` (an ``nn.ModuleList``) and ``norm``, then calls
    :meth:`_finish_tokens`. It defines :meth:`_embed`. Tokens with a place are in order of time, height, width.

    Attributes:
        patch_size: pixels of a patch over time, height and width.
        num_prefix_tokens: tokens without a place.
    """

    is_3d = True
    mixes_time = True
    gives_tokens = True
    num_prefix_tokens = 1
    stem_pattern = r"^(?:cls_token|pos_embed|time_embed|patch_embed)"
    patch_size: Size3d
    blocks: nn.ModuleList
    norm: nn.Module

    def _finish_tokens(self, width: int, num_classes: int, drop_rate: float) -> None:
        """Set the attributes of the interface for blocks of ``width`` channels."""
        self.stage_names = tuple(f"blocks.{i}" for i in range(len(self.blocks)))
        row = (width, self.patch_size[1])
        self._finish("patch_embed", [row] * (1 + len(self.blocks)), num_classes, drop_rate)

    def _embed(self, x: Tensor) -> Tensor:
        """Return the tokens of clips (B, C, T, H, W) before the first block."""
        raise NotImplementedError

    def grid_of(self, clip_size: Size3d) -> Size3d:
        """Return the number of tokens over time, height and width for clips of that size.

        Pixels at the border that fill no patch are left out.

        Raises:
            ValueError: a clip smaller than a patch.
        """
        if any(side < patch for side, patch in zip(clip_size, self.patch_size, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: clips of (T, H, W) = {tuple(clip_size)} are smaller than a patch of "
                f"{self.patch_size}; take larger frames or more of them."
            )
        frames, height, width = (side // patch for side, patch in zip(clip_size, self.patch_size, strict=True))
        return frames, height, width

    def tokens_to_maps(self, tokens: Tensor, clip_size: Size3d) -> Tensor:
        """Return the maps (B, C, T', H', W') that a block's tokens are.

        Args:
            tokens: (B, N, C), or (B*T', N, C) where frames are in the batch.
            clip_size: T, H and W of the clips that they are of.
        """
        return self._to_maps(tokens, self.grid_of(clip_size))

    def _to_maps(self, tokens: Tensor, grid: Size3d) -> Tensor:
        placed = tokens[:, self.num_prefix_tokens :]
        return placed.reshape(-1, *grid, placed.shape[-1]).movedim(-1, 1)

    def stage_modules(self) -> list[list[str]]:
        """Return the blocks in four stages of equal depth, which explanations and layer groups count."""
        names, count = self.stage_names, len(self.stage_names)
        return [row for k in range(4) if (row := list(names[count * k // 4 : count * (k + 1) // 4]))]

    def _begin(self, x: Tensor) -> tuple[Tensor, Size3d]:
        frames, height, width = x.shape[2:]
        return self._embed(x), self.grid_of((frames, height, width))

    def _advance(self, stage: nn.Module, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        tokens, grid = state
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, tokens), grid
        return stage(tokens), grid

    def _normed(self, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        return self.norm(state[0]), state[1]

    def _map(self, state: tuple[Tensor, Size3d]) -> Tensor:
        return self._to_maps(*state)

    def _end(self, state: tuple[Tensor, Size3d]) -> Tensor:
        return self.norm(state[0])

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Take the class token, or the mean if there is none, apply dropout, and classify unless ``pre_logits``."""
        x = F.dropout(self._pool(x), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def _pool(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0] if self.num_prefix_tokens else tokens.mean(1)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay, those of its ViTs."""
        return {"stem": self.stem_pattern, "blocks": [(r"^blocks\.(\d+)", None), (r"^(?:fc_)?norm\.", (99999,))]}

    def no_weight_decay(self) -> set[str]:
        """Return the names of class token and position embeddings."""
        names = ("cls_token", "pos_embed", "time_embed")
        return {name for name in names if isinstance(getattr(self, name, None), nn.Parameter)}

    def _positions(self, pos_embed: Tensor, grid: tuple[int, int], own: tuple[int, int]) -> Tensor:
        """Return position embeddings of height and width for another grid than their own, as timm interpolates them."""
        if grid == own:
            return pos_embed
        return resample_abs_pos_embed(pos_embed, list(grid), list(own), self.num_prefix_tokens)


class StagedTokenBackbone(TokenBackbone):
    """Base of transformers on tokens in four stages, whose blocks pool them. Stages are read at their last blocks.

    A subclass creates ``blocks`` and ``norm``, then calls :meth:`_finish_stages`.

    Attributes:
        depths: blocks of the stages.
    """

    depths: Sequence[int]

    def _finish_stages(self, stem: str, widths: Sequence[int], num_classes: int, drop_rate: float) -> None:
        """Set the attributes of the interface for maps of ``widths``, of the stem and of every stage."""
        self.stage_names = tuple(names[-1] for names in self.stage_modules())
        reductions = (4, *(4 * 2**k for k in range(len(self.depths))))
        self._finish(stem, zip(widths, reductions, strict=True), num_classes, drop_rate)

    def stage_modules(self) -> list[list[str]]:
        """Return the blocks of each stage."""
        names = iter(f"blocks.{i}" for i in range(sum(self.depths)))
        return [[next(names) for _ in range(depth)] for depth in self.depths]

    def _between(self, index: int, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        for name in self.stage_modules()[index][:-1]:
            state = self._advance(self.get_submodule(name), state)
        return state

    def _normed(self, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        return state  # the last norm fits the last stage alone

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay: a group for each block, or for each stage."""
        if not coarse:
            return super().group_matcher()
        rows: Sequence[tuple[str, Any]] = [
            (rf"^blocks\.(?:{'|'.join(name.split('.')[1] for name in names)})\.", (k,))
            for k, names in enumerate(self.stage_modules())
        ]
        return {"stem": self.stem_pattern, "blocks": [*rows, (r"^(?:fc_)?norm\.", (99999,))]}


class TubeletEmbed(nn.Module):
    """Patches of several frames as tokens: (B, C, T, H, W) -> (B, T' * H' * W', width).

    Args:
        in_chans: channels of a frame.
        width: channels of a token.
        patch: pixels of a patch over time, height and width.
        stride: steps from patch to patch. None: they do not overlap.
        padding: zeros around the clip.
    """

    def __init__(
        self, in_chans: int, width: int, patch: Size3d, stride: Size3d | None = None, padding: Size3d = (0, 0, 0)
    ) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_chans, width, patch, stride or patch, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


def init_linears(net: nn.Module) -> None:
    """Initialize linear layers as ViTs do: a truncated normal of 0.02, and zero biases."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
