"""MViT, version 1 and 2: attention whose queries, keys and values are pooled, of torchvision's modules."""

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from timm.models import checkpoint
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT, PositionalEncoding

from videozoo.nets.base import take_drop_paths
from videozoo.nets.registry import HALF, register_backbone
from videozoo.nets.tokens import Size3d, StagedTokenBackbone

__all__ = ["MultiscaleViT", "MultiscaleViTCfg"]

_PATCH = (2, 4, 4)  # strides of the first convolution


@dataclass(frozen=True)
class MultiscaleViTCfg:
    """One model of the family. The defaults are MViTv2-S.

    Args:
        depths: blocks of the four stages. Each stage but the first begins with a block that halves height and width.
        width: channels of the first stage. Each next one has twice as many.
        num_heads: heads of an attention in the first stage. Each next one has twice as many.
        version: 2 adds relative positions and a shortcut around the attention's pooling. 1 has absolute positions.
        is_widened_in_attention: the attention of a stage's first block doubles the channels. False: the MLP of the
            block before it does.
        frames: of the clips that the tables of positions are for.
        img_size: pixels of a side of their frames.
    """

    depths: tuple[int, int, int, int] = (1, 2, 11, 2)
    width: int = 96
    num_heads: int = 1
    version: int = 2
    is_widened_in_attention: bool = True
    frames: int = 16
    img_size: int = 224

    def blocks(self) -> list[MSBlockConfig]:
        """Return torchvision's settings, block by block."""
        firsts = [sum(self.depths[:k]) for k in (1, 2, 3)]
        stages = [k for k, depth in enumerate(self.depths) for _ in range(depth)]
        ends = [*stages[1:], stages[-1]]
        rows, inputs = [], 0
        for i, (stage, following) in enumerate(zip(stages, ends, strict=True)):
            stride = [1, 2, 2] if i in firsts else [1, 1, 1]
            is_pooled = self.version == 2 or i in firsts
            outputs = stage if self.is_widened_in_attention else following
            side = max(8 // 2**stage, 1)
            rows.append(
                MSBlockConfig(
                    num_heads=self.num_heads * 2**stage,
                    input_channels=self.width * 2**inputs,
                    output_channels=self.width * 2**outputs,
                    kernel_q=[3, 3, 3] if is_pooled else [],
                    kernel_kv=[3, 3, 3],
                    stride_q=stride if is_pooled else [],
                    stride_kv=[1, side, side],
                )
            )
            inputs = outputs
        return rows


class _Positions(PositionalEncoding):
    """torchvision's class token and absolute positions, which are interpolated for clips of another size.

    PySlowFast interpolates the sum of both tables, linearly along each axis. That is the same.
    """

    def forward(self, x: Tensor, grid: Size3d) -> Tensor:  # type: ignore[override]
        token = self.class_token.expand(x.shape[0], 1, -1)
        if self.spatial_pos is None or self.temporal_pos is None or self.class_pos is None:
            return torch.cat((token, x), 1)
        space = self.spatial_pos.unflatten(0, tuple(self.spatial_size))
        if grid[1:] != tuple(self.spatial_size):
            space = F.interpolate(space.movedim(-1, 0)[None], grid[1:], mode="bilinear")[0].movedim(0, -1)
        time = self.temporal_pos
        if grid[0] != self.temporal_size:
            time = F.interpolate(time.T[None], grid[0], mode="linear")[0].T
        places = (time[:, None] + space.flatten(0, 1)).flatten(0, 1)
        return torch.cat((token + self.class_pos, x + places), 1)


class MultiscaleViT(StagedTokenBackbone):
    """MViT on clips.

    Version 1: Fan et al., 2021 (arXiv:2104.11227). Version 2: Li et al., 2022 (arXiv:2112.01526). Modules and keys are
    torchvision's.

    Clips may have another size or number of frames than the tables of positions are for. The tables are interpolated
    linearly, as the authors do it.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Tokens (B, 1 + ceil(T / 2) * ceil(H / 32) * ceil(W / 32), num_features), the class token
        first.
    """

    stem_pattern = r"^(?:conv_proj|pos_encoding)"
    patch_size = _PATCH

    def __init__(
        self,
        cfg: MultiscaleViTCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg, self.depths = cfg, cfg.depths
        rows = cfg.blocks()
        whole = MViT(
            spatial_size=(cfg.img_size, cfg.img_size),
            temporal_size=cfg.frames,
            block_setting=rows,
            residual_pool=cfg.version == 2,
            residual_with_cls_embed=False,
            rel_pos_embed=cfg.version == 2,
            proj_after_attn=cfg.is_widened_in_attention,
            stochastic_depth_prob=drop_path_rate,
            num_classes=1,
        )
        self.conv_proj = whole.conv_proj
        if in_chans != 3:
            self.conv_proj = nn.Conv3d(in_chans, cfg.width, (3, 7, 7), _PATCH, (1, 3, 3))
        own = whole.pos_encoding
        self.pos_encoding = _Positions(cfg.width, own.spatial_size, own.temporal_size, cfg.version == 2)
        self.pos_encoding.load_state_dict(own.state_dict())
        self.blocks = whole.blocks
        self.norm = whole.norm
        take_drop_paths(self)
        outputs = [rows[sum(cfg.depths[:k]) - 1].output_channels for k in (1, 2, 3, 4)]
        self._finish_stages("conv_proj", (cfg.width, *outputs), num_classes, drop_rate)

    def grid_of(self, clip_size: Size3d) -> Size3d:
        """Return the number of tokens over time, height and width that the first convolution makes of clips."""
        frames, height, width = (-(-side // stride) for side, stride in zip(clip_size, _PATCH, strict=True))
        return frames, height, width

    def tokens_to_maps(self, tokens: Tensor, clip_size: Size3d) -> Tensor:
        """Return the maps (B, C, T', H', W') that a block's tokens are.

        Args:
            tokens: (B, 1 + N, C) of any stage. N tells which.
            clip_size: T, H and W of the clips that they are of.
        """
        frames, height, width = self.grid_of(clip_size)
        for _ in self.cfg.depths[1:]:
            if frames * height * width > tokens.shape[1] - 1:
                height, width = -(-height // 2), -(-width // 2)
        return self._to_maps(tokens, (frames, height, width))

    def _begin(self, x: Tensor) -> tuple[Tensor, Size3d]:
        maps = self.conv_proj(x)
        frames, height, width = maps.shape[2:]
        grid = (frames, height, width)
        return self.pos_encoding(maps.flatten(2).transpose(1, 2), grid), grid

    def _advance(self, stage: nn.Module, state: tuple[Tensor, Size3d]) -> tuple[Tensor, Size3d]:
        tokens, grid = state
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, tokens, thw=grid)
        return stage(tokens, thw=grid)

    def no_weight_decay(self) -> set[str]:
        """Return the names of class token and tables of positions."""
        names = [name for name, _ in self.named_parameters()]
        return {name for name in names if name.startswith("pos_encoding.") or ".rel_pos_" in name}


_V1 = MultiscaleViTCfg(version=1, is_widened_in_attention=False)
_V2 = MultiscaleViTCfg()
for _name, _cfg, _what in (
    ("mvit_v1_base", _V1, "MViTv1-B"),
    ("mvit_v1_base_32", replace(_V1, frames=32), "MViTv1-B, positions for 32 frames"),
    ("mvit_v2_small", _V2, "MViTv2-S"),
    ("mvit_v2_small_mlp", replace(_V2, is_widened_in_attention=False), "MViTv2-S, widened by MLPs (MaskFeat)"),
    ("mvit_v2_base", replace(_V2, depths=(2, 3, 16, 3), frames=32), "MViTv2-B"),
    ("mvit_v2_large", replace(_V2, depths=(2, 6, 36, 4), width=144, num_heads=2, frames=40, img_size=312), "MViTv2-L"),
):
    register_backbone(_name, partial(MultiscaleViT, _cfg), f"{_what}.", first_conv="conv_proj", **HALF)
