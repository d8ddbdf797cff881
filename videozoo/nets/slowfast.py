"""SlowFast: a slow pathway on few frames and a thin fast one on all."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.layers import calculate_drop_path_rates
from torch import Tensor, nn

from videozoo.layers.non_local import NonLocalOptions
from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.blocks3d import (
    BasicBlock3d,
    BlockOptions,
    Bottleneck3d,
    Kernels,
    conv3d,
    make_stage,
    options_of_blocks,
)
from videozoo.nets.registry import HALF, register_backbone
from videozoo.nets.resnet3d import DEPTHS

__all__ = ["SlowFast", "SlowFastCfg", "slow_frame_indices"]


@dataclass(frozen=True)
class SlowFastCfg:
    """One model of the family.

    ``has_lateral_norm``, ``slow_frames`` and ``is_fast_first`` differ between the authors' code (the defaults) and
    MMAction2: the two are different models.

    Args:
        depth: of the ResNet. 50 and more have bottlenecks. ``fast_depth`` None: the same for the fast pathway.
        alpha: frames of the fast pathway for one of the slow.
        beta_inv: channels of the slow pathway for one of the fast.
        fusion_kernel: frames that a lateral connection sees.
        fusion_ratio: its output channels for one of the fast pathway.
        has_lateral_norm: norm and ReLU after a lateral convolution.
        slow_frames: ``"linspace"``: from the first to the last frame, evenly, rounded down. ``"stride"``: every
            ``alpha``-th frame, from the first.
        is_fast_first: order of the two in the features.
        slow_kernels, fast_kernels: temporal kernels of the blocks of stages 1 to 4. A tuple is repeated.
        non_local: indices of the slow blocks of each stage that a non-local block follows. Only in bottlenecks.
        non_local_options: options of these.
    """

    depth: int = 50
    alpha: int = 4
    fusion_kernel: int = 7
    fast_depth: int | None = None
    beta_inv: int = 8
    fusion_ratio: int = 2
    has_lateral_norm: bool = True
    slow_frames: Literal["linspace", "stride"] = "linspace"
    is_fast_first: bool = False
    slow_kernels: tuple[Kernels, Kernels, Kernels, Kernels] = (1, 1, 3, 3)
    fast_kernels: tuple[Kernels, Kernels, Kernels, Kernels] = (3, 3, 3, 3)
    non_local: tuple[tuple[int, ...], ...] = ((), (), (), ())
    non_local_options: NonLocalOptions | None = None


def slow_frame_indices(num_frames: int, alpha: int, how: Literal["linspace", "stride"]) -> list[int]:
    """Return the frames of a clip that the slow pathway takes."""
    count = num_frames // alpha
    if how == "stride" or count == 1:
        return [i * alpha for i in range(count)]
    return [i * (num_frames - 1) // (count - 1) for i in range(count)]


class _Stem(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = conv3d(inputs, outputs, (kernel, 7), (1, 2))
        self.bn = nn.BatchNorm3d(outputs)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class _Stems(nn.Module):
    """Both stems. Neither looks at the other."""

    def __init__(self, in_chans: int, cfg: SlowFastCfg) -> None:
        super().__init__()
        self.slow = _Stem(in_chans, 64, 1)
        self.fast = _Stem(in_chans, 64 // cfg.beta_inv, 5)

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        return self.slow(slow), self.fast(fast)


class _Lateral(nn.Module):
    """Fast features at the slow pathway's rate: (B, C, T, H, W) -> (B, ratio C, T / alpha, H, W)."""

    def __init__(self, channels: int, cfg: SlowFastCfg) -> None:
        super().__init__()
        self.conv = conv3d(channels, cfg.fusion_ratio * channels, (cfg.fusion_kernel, 1), (cfg.alpha, 1))
        self.bn = nn.BatchNorm3d(cfg.fusion_ratio * channels) if cfg.has_lateral_norm else None
        self.act = nn.ReLU(inplace=True) if cfg.has_lateral_norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None or self.act is None else self.act(self.bn(x))


class _Stage(nn.Module):
    """One stage of both pathways: what the fast one has found so far goes to the slow one first.

    Shape:
        slow (B, C, T / alpha, H, W) and fast (B, C / beta_inv, T, H, W), in and out.
    """

    def __init__(self, lateral: _Lateral, slow: nn.Sequential, fast: nn.Sequential) -> None:
        super().__init__()
        self.lateral, self.slow, self.fast = lateral, slow, fast

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        return self.slow(torch.cat((slow, self.lateral(fast)), 1)), self.fast(fast)


class SlowFast(Backbone):
    """Two 3-D ResNets with lateral connections from the fast to the slow one.

    Feichtenhofer et al., 2019 (arXiv:1812.03982). Lateral connections stand before every stage.

    A feature map is both pathways' side by side, the fast one averaged over each ``alpha`` frames: its global average
    is then the concatenation of both pathways' averages, which is what the classifier takes.

    Args:
        cfg: which model.
        num_classes, in_chans, drop_rate, drop_path_rate: as in :class:`ResNet3d`.
    Shape:
        input (B, C, T, H, W), T a multiple of ``alpha``. Features (B, num_features, T / alpha, H / 32, W / 32).
    """

    is_3d = True
    mixes_time = True
    stage_names = ("layer1", "layer2", "layer3", "layer4")
    stem_pattern = r"^stem"
    block_pattern = r"^layer(\d+)\.(?:slow|fast)\.(\d+)"

    def __init__(
        self,
        cfg: SlowFastCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.stem = _Stems(in_chans, cfg)
        self._make_stages(cfg, drop_path_rate)
        fast_depth = cfg.fast_depth or cfg.depth
        slow_out, fast_out = (64 * (4 if depth >= 50 else 1) for depth in (cfg.depth, fast_depth))
        maps = [(64 + 64 // cfg.beta_inv, 2)]
        maps += [((slow_out + fast_out // cfg.beta_inv) * 2**i, 4 * 2**i) for i in range(4)]
        self._finish("stem", maps, num_classes, drop_rate)
        self.frames_multiple = cfg.alpha
        self.least_frames = cfg.alpha * (cfg.non_local_options.pool[0] if cfg.non_local_options else 1)

    def _make_stages(self, cfg: SlowFastCfg, drop_path_rate: float) -> None:
        depths = (cfg.depth, cfg.fast_depth or cfg.depth)
        blocks = [Bottleneck3d if depth >= 50 else BasicBlock3d for depth in depths]
        rates: Any = [calculate_drop_path_rates(drop_path_rate, DEPTHS[depth], stagewise=True) for depth in depths]
        slow_in, fast_in = 64, 64 // cfg.beta_inv
        for i, name in enumerate(self.stage_names):
            stride = (1, 2 if i else 1)
            lateral = _Lateral(fast_in, cfg)
            slow_in += cfg.fusion_ratio * fast_in
            options = BlockOptions(zero_init_last=True, non_local=cfg.non_local_options)
            counts = [len(own[i]) for own in rates]
            slow_options = options_of_blocks(options, counts[0], cfg.slow_kernels[i], cfg.non_local[i])
            fast_options = options_of_blocks(options, counts[1], cfg.fast_kernels[i])
            widths = (64 * 2**i, 64 // cfg.beta_inv * 2**i)
            slow = make_stage(blocks[0], slow_in, widths[0], slow_options, stride, rates[0][i])
            fast = make_stage(blocks[1], fast_in, widths[1], fast_options, stride, rates[1][i])
            setattr(self, name, _Stage(lateral, slow, fast))
            slow_in, fast_in = (width * block.expansion for width, block in zip(widths, blocks, strict=True))
        init_convs(self)

    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.cfg.slow_frames == "stride":
            slow = x[:, :, :: self.cfg.alpha]
        else:
            indices = slow_frame_indices(x.shape[2], self.cfg.alpha, "linspace")
            slow = torch.stack([x[:, :, i] for i in indices], 2)
        return self.stem(slow, x)

    def _between(self, index: int, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if index:
            return state
        slow, fast = (F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)) for x in state)
        return slow, fast

    def _advance(self, stage: nn.Module, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if not (self.grad_checkpointing and torch.is_grad_enabled()):
            return stage(*state)
        slow, fast = state
        slow = torch.cat((slow, stage.get_submodule("lateral")(fast)), 1)
        return self._run(stage.get_submodule("slow"), slow), self._run(stage.get_submodule("fast"), fast)

    def _map(self, state: tuple[Tensor, Tensor]) -> Tensor:
        slow, fast = state
        fast = F.avg_pool3d(fast, (self.cfg.alpha, 1, 1))
        return torch.cat((fast, slow) if self.cfg.is_fast_first else (slow, fast), 1)


_STEMS = ("stem.slow.conv", "stem.fast.conv")

_NETWORKS = {  # as their authors build them
    "slowfast_resnet18_8x8": SlowFastCfg(18),
    "slowfast_resnet50_8x8": SlowFastCfg(50),
    "slowfast_resnet50_4x16": SlowFastCfg(50, alpha=8, fusion_kernel=5),
    "slowfast_resnet101_8x8": SlowFastCfg(101, fusion_kernel=5),
    "slowfast_resnet101_resnet50_4x16": SlowFastCfg(101, alpha=8, fusion_kernel=5, fast_depth=50),
}
# Only the first six blocks of stage 3 see three frames, as in ResNet-50.
_AS_IN_50 = (3,) * 6 + (1,) * 17
_101_50 = SlowFastCfg(101, fusion_kernel=5, slow_kernels=(1, 1, _AS_IN_50, 3), fast_kernels=(3, 3, _AS_IN_50, 3))
_non_local = partial(replace, _101_50, non_local=((), (), (6, 13, 20), ()))
_AUTHORS_ONLY = {
    "slowfast_resnet101_8x8_50": _101_50,
    "slowfast_resnet101_8x8_50_nl": _non_local(non_local_options=NonLocalOptions("dot_product")),
    "slowfast_resnet101_8x8_50_nl_pool2": _non_local(non_local_options=NonLocalOptions("dot_product", pool=(2, 2, 2))),
}
for _name, _own in (_NETWORKS | _AUTHORS_ONLY).items():
    _short = _name.removeprefix("slowfast_")
    register_backbone(
        _name, partial(SlowFast, _own), f"SlowFast {_short} as its authors build it.", first_conv=_STEMS, **HALF
    )
_MM_FUSION_KERNELS = {"slowfast_resnet101_8x8": 7}  # where MMAction2's has another
for _name, _own in _NETWORKS.items():
    _short = _name.removeprefix("slowfast_")
    _mm = replace(
        _own,
        fusion_kernel=_MM_FUSION_KERNELS.get(_name, _own.fusion_kernel),
        has_lateral_norm=False,
        slow_frames="stride",
        is_fast_first=True,
    )
    register_backbone(
        f"{_name}_mm",
        partial(SlowFast, _mm),
        f"SlowFast {_short} as in MMAction2: no norm in the laterals, every alpha-th frame, fast features first.",
        first_conv=_STEMS,
    )
