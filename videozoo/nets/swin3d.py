"""Video Swin Transformer: attention in windows over space and time, of torchvision's modules."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models import checkpoint_seq
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from videozoo.nets.base import Backbone, take_drop_paths
from videozoo.nets.registry import register_backbone

__all__ = ["Swin3d", "Swin3dCfg"]


@dataclass(frozen=True)
class Swin3dCfg:
    """One model of the family.

    Args:
        depths: blocks of the four stages.
        width: channels of the first stage. Each next one has twice as many.
        num_heads: heads of an attention in the first stage. Each next one has twice as many.
        window: tokens of a window over time, height and width.
        patch: pixels of a patch over time, height and width.
    """

    depths: tuple[int, int, int, int]
    width: int = 96
    num_heads: int = 3
    window: tuple[int, int, int] = (8, 7, 7)
    patch: tuple[int, int, int] = (2, 4, 4)


class _Stage(nn.Module):
    """Blocks on maps (B, C, T, H, W), after the merging of patches that halves height and width.

    torchvision's blocks have the channels last.
    """

    def __init__(self, downsample: nn.Module, blocks: nn.Sequential) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = blocks

    def forward(self, x: Tensor, is_checkpointed: bool = False) -> Tensor:
        x = self.downsample(x.movedim(1, -1))
        x = checkpoint_seq(self.blocks, x) if is_checkpointed else self.blocks(x)
        return x.movedim(-1, 1)


class Swin3d(Backbone):
    """Video Swin Transformer on clips.

    Liu et al., 2022 (arXiv:2106.13230). The modules are torchvision's, in stages: torchvision's ``features.0`` is
    ``layers.0.blocks`` here, and ``features.1`` is ``layers.1.downsample``.

    Clips may have any size. Patches and windows at the border are filled with zeros, as torchvision and the authors do
    it. Where a map is smaller than a window the window shrinks.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, ceil(T / 2), ceil(H / 32), ceil(W / 32)).
    """

    is_3d = True
    has_windows = True
    mixes_time = True
    stage_names = ("layers.0", "layers.1", "layers.2", "layers.3")

    def __init__(
        self,
        cfg: Swin3dCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        whole = SwinTransformer3d(
            patch_size=list(cfg.patch),
            embed_dim=cfg.width,
            depths=list(cfg.depths),
            num_heads=[cfg.num_heads * 2**i for i in range(4)],
            window_size=list(cfg.window),
            stochastic_depth_prob=drop_path_rate,
            num_classes=1,
        )
        self.patch_embed = whole.patch_embed
        if in_chans != 3:
            self.patch_embed.proj = nn.Conv3d(in_chans, cfg.width, cfg.patch, cfg.patch)
        parts: list[Any] = [nn.Identity(), *whole.features]
        self.layers = nn.ModuleList(_Stage(*pair) for pair in zip(parts[::2], parts[1::2], strict=True))
        self.norm = whole.norm
        take_drop_paths(self)
        for module in self.modules():  # their index follows from the window, and no weights file needs it
            if isinstance(module, ShiftedWindowAttention3d):
                index: Any = module.relative_position_index
                module.register_buffer("relative_position_index", index, persistent=False)
        widths = [cfg.width * 2**i for i in range(4)]
        maps = [(widths[0], 4), *((width, 4 * 2**i) for i, width in enumerate(widths))]
        self._finish("patch_embed", maps, num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        return self.patch_embed(x).movedim(-1, 1)

    def _run(self, stage: nn.Module, x: Tensor) -> Tensor:
        return stage(x, is_checkpointed=self.grad_checkpointing and torch.is_grad_enabled())

    def _end(self, state: Tensor) -> Tensor:
        return self.norm(state.movedim(1, -1)).movedim(-1, 1)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns for layer decay, those of its Swin transformers."""
        if coarse:
            return {"stem": r"^patch_embed", "blocks": [(r"^layers\.(\d+)", None), (r"^norm\.", (99999,))]}
        rows = [(r"^layers\.(\d+)\.downsample", (0,)), (r"^layers\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^patch_embed", "blocks": [*rows, (r"^norm\.", (99999,))]}

    def no_weight_decay(self) -> set[str]:
        """Return the names of the tables of position biases."""
        return {name for name, _ in self.named_parameters() if name.endswith("relative_position_bias_table")}


_SIZES = {
    "tiny": Swin3dCfg((2, 2, 6, 2)),
    "small": Swin3dCfg((2, 2, 18, 2)),
    "base": Swin3dCfg((2, 2, 18, 2), 128, 4),
    "base_w16": Swin3dCfg((2, 2, 18, 2), 128, 4, (16, 7, 7)),
    "large": Swin3dCfg((2, 2, 18, 2), 192, 6),
}
for _size, _cfg in _SIZES.items():
    _what = _size.replace("_w16", ", windows of 16 steps")
    register_backbone(
        f"swin3d_{_size}", partial(Swin3d, _cfg), f"Video Swin Transformer, {_what}.", first_conv="patch_embed.proj"
    )
