"""UniFormer: depthwise 3-D convolutions in the first two stages, joint space-time attention in the last two."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.layers import DropPath, calculate_drop_path_rates
from timm.models._manipulate import MATCH_PREV_GROUP
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from videozoo.nets.base import Backbone
from videozoo.nets.registry import register_backbone
from videozoo.nets.tokens import init_linears

__all__ = ["UniFormer", "UniFormerCfg"]


@dataclass(frozen=True)
class UniFormerCfg:
    """One model of the family.

    Args:
        depths: blocks of the four stages.
        widths: channels of the four stages. The last two must be multiples of ``head_width``.
        head_width: channels of an attention head.
        mlp_ratio: hidden channels of an MLP for one of the block.
    """

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    head_width: int = 64
    mlp_ratio: int = 4


class _PatchEmbed(nn.Module):
    """A strided convolution and a layer norm over channels: (B, C, T, H, W) -> (B, outputs, T', H / patch, W / patch).

    ``kernel`` and ``stride`` are those over time.
    """

    def __init__(self, inputs: int, outputs: int, patch: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(outputs)
        self.proj = nn.Conv3d(
            inputs, outputs, (kernel, patch, patch), (stride, patch, patch), padding=(kernel // 2, 0, 0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1).contiguous()


class _ConvMlp(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(channels, hidden, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv3d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


def _depthwise(channels: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class _LocalBlock(nn.Module):
    """A position convolution, a depthwise 5x5x5 convolution in place of attention, and an MLP, each with a shortcut.

    Shape:
        input (B, C, T, H, W), output the same.
    """

    def __init__(self, channels: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = _depthwise(channels, 3)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 1)
        self.conv2 = nn.Conv3d(channels, channels, 1)
        self.attn = _depthwise(channels, 5)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.BatchNorm3d(channels)
        self.mlp = _ConvMlp(channels, channels * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class _GlobalBlock(Block):
    """A position convolution and a block of timm's ViT over all positions of all frames.

    Shape:
        input (B, C, T, H, W), output the same.
    """

    def __init__(self, channels: int, cfg: UniFormerCfg, drop_path: float) -> None:
        super().__init__(
            channels,
            channels // cfg.head_width,
            mlp_ratio=cfg.mlp_ratio,
            qkv_bias=True,
            drop_path=drop_path,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]  # timm calls it only
        )
        self.pos_embed = _depthwise(channels, 3)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        x = x + self.pos_embed(x)
        tokens = super().forward(x.flatten(2).transpose(1, 2))  # (B, T*H*W, C)
        return tokens.transpose(1, 2).reshape(x.shape)


class UniFormer(Backbone):
    """UniFormer on clips.

    Li et al., 2022 (arXiv:2201.04676). Keys and arithmetic are those of the authors' code. MMAction2's port differs in
    the epsilon of the layer norms of the blocks only (1e-5, here 1e-6), which changes logits by about 1e-5.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, ceil(T / 2), H / 32, W / 32).
    """

    is_3d = True
    mixes_time = True
    stage_names = ("blocks1", "blocks2", "blocks3", "blocks4")

    def __init__(
        self,
        cfg: UniFormerCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        rates: Any = calculate_drop_path_rates(drop_path_rate, list(cfg.depths), stagewise=True)
        inputs = in_chans
        for i, width in enumerate(cfg.widths):
            patch, kernel, stride = (2, 1, 1) if i else (4, 3, 2)
            setattr(self, f"patch_embed{i + 1}", _PatchEmbed(inputs, width, patch, kernel, stride))
            setattr(self, self.stage_names[i], _make_stage(i, width, cfg, rates[i]))
            inputs = width
        self.norm = nn.BatchNorm3d(inputs)
        init_linears(self)
        maps = [(cfg.widths[0], 4), *((width, 4 * 2**i) for i, width in enumerate(cfg.widths))]
        self._finish("patch_embed1", maps, num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        return self.get_submodule("patch_embed1")(x)

    def _between(self, index: int, state: Tensor) -> Tensor:
        return self.get_submodule(f"patch_embed{index + 1}")(state) if index else state

    def _end(self, state: Tensor) -> Tensor:
        return self.norm(state)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay. A patch embedding between stages is in the group of what follows."""
        rows: list[tuple[str, Any]] = [(r"^norm\.", (4, *MATCH_PREV_GROUP))]
        if coarse:
            return {"stem": r"^patch_embed1", "blocks": [(r"^(?:blocks|patch_embed)(\d)", None), *rows]}
        rows += [(r"^blocks(\d)\.(\d+)", None), (r"^patch_embed(\d)", (0,))]
        return {"stem": r"^patch_embed1", "blocks": rows}


def _make_stage(index: int, width: int, cfg: UniFormerCfg, rates: Sequence[float]) -> nn.Sequential:
    if index < 2:
        return nn.Sequential(*(_LocalBlock(width, cfg.mlp_ratio, rate) for rate in rates))
    return nn.Sequential(*(_GlobalBlock(width, cfg, rate) for rate in rates))


for _size, _depths in {"small": (3, 4, 8, 3), "base": (5, 8, 20, 7)}.items():
    register_backbone(
        f"uniformer_{_size}",
        partial(UniFormer, UniFormerCfg(_depths)),
        f"UniFormer, {_size}.",
        first_conv="patch_embed1.proj",
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )
