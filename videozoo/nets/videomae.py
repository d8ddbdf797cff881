"""VideoMAE: a plain ViT on tubelets of a clip, with fixed positions."""

from functools import partial

import torch
import torch.nn.functional as F
from timm.models.beit import Attention, Block
from torch import Tensor, nn

from videozoo.nets.registry import register_backbone
from videozoo.nets.tokens import TokenBackbone, TubeletEmbed, VitCfg, init_linears, layer_norm

__all__ = ["VideoMae"]


class VideoMae(TokenBackbone):
    """The ViT that VideoMAE trains, on clips.

    Tong et al., 2022 (arXiv:2203.12602). All tokens attend to each other. There is no class token: the tokens are
    averaged, then normalized by ``fc_norm``, and ``norm`` does nothing. Blocks are timm's of BEiT, whose attention has
    biases of queries and values alone. Keys are those of the authors' code.

    Positions are a fixed table of sines and cosines over all tokens in order, for frames of ``img_size``. For frames of
    another size it is interpolated over height and width, bicubic. It has no weights, so any number of frames that
    fills tubelets is possible.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
        num_frames: frames of a clip.
        img_size: pixels of a frame's side, which the table of positions is for.
    Shape:
        input (B, C, T, H, W). Tokens (B, T/2 * H/16 * W/16, num_features).
    """

    num_prefix_tokens = 0
    pos_embed: Tensor

    def __init__(
        self,
        cfg: VitCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        num_frames: int = 16,
        img_size: int = 224,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.patch_size = cfg.patch_size
        _, *own_grid = self.grid_of((num_frames, img_size, img_size))
        self.own_grid = own_grid[0], own_grid[1]
        self.register_buffer("pos_embed", torch.empty(0), persistent=False)
        self.num_segments = num_frames
        self.patch_embed = TubeletEmbed(in_chans, cfg.width, self.patch_size)
        self.blocks = cfg.blocks(Block, drop_path_rate)
        for module in self.modules():
            if isinstance(module, Attention):  # so that qkv is called as a module, which LoRA changes
                module.qkv_bias_separate = True
        self.norm = nn.Identity()
        self.fc_norm = layer_norm(cfg.width)
        init_linears(self)
        self._finish_tokens(cfg.width, num_classes, drop_rate)
        self.frames_multiple = self.least_frames = cfg.tubelet

    @property
    def num_segments(self) -> int:
        """Frames of the clips. Setting it makes the table of positions for as many."""
        return self._num_segments

    @num_segments.setter
    def num_segments(self, frames: int) -> None:
        self._num_segments = frames
        count = frames // self.cfg.tubelet * self.own_grid[0] * self.own_grid[1]
        self.pos_embed = _sines_and_cosines(count, self.cfg.width).to(self.pos_embed)

    def _embed(self, x: Tensor) -> Tensor:
        _, *grid = self.grid_of((x.shape[2], x.shape[3], x.shape[4]))
        places = self.pos_embed
        if tuple(grid) != self.own_grid:
            maps = places.unflatten(1, (-1, *self.own_grid))[0].permute(0, 3, 1, 2).float()  # (T', C, H', W')
            maps = F.interpolate(maps, grid, mode="bicubic", antialias=True)
            places = maps.permute(0, 2, 3, 1).flatten(0, 2)[None].to(places)
        return self.patch_embed(x) + places

    def _pool(self, tokens: Tensor) -> Tensor:
        return self.fc_norm(super()._pool(tokens))


def _sines_and_cosines(count: int, width: int) -> Tensor:
    """Return the table (1, count, width) of Vaswani et al., 2017 (arXiv:1706.03762): sines of even channels."""
    rates = 10000 ** -(torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)
    angles = torch.arange(count, dtype=torch.float64, device="cpu")[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[None].float()


for _size, _cfg in (
    ("small", VitCfg(384, num_heads=6)),
    ("base", VitCfg()),
    ("large", VitCfg(1024, depth=24, num_heads=16)),
):
    register_backbone(
        f"videomae_vit_{_size}",
        partial(VideoMae, _cfg),
        f"The ViT-{_size[0].upper()}/16 of VideoMAE.",
        has_positions=True,
        first_conv="patch_embed.proj",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
