"""One-pathway 3-D ResNets: R(2+1)D, R3D, MC3, SlowOnly, I3D and C2D."""

from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul
from typing import Any

from timm.layers import calculate_drop_path_rates
from torch import Tensor, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.blocks3d import (
    BasicBlock2plus1d,
    BasicBlock3d,
    BlockOptions,
    Bottleneck3d,
    Conv2plus1d,
    Kernels,
    conv3d,
    make_stage,
    options_of_blocks,
)

__all__ = ["DEPTHS", "ResNet3d", "ResNet3dCfg"]

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


@dataclass(frozen=True)
class ResNet3dCfg:
    """One model of the family.

    Args:
        depth: of the ResNet that it is made from. 50 and more have bottlenecks.
        is_factorized: (2+1)D convolutions, the stem's too.
        temporal_kernels: of the blocks of stages 1 to 4, see :class:`BlockOptions`. A tuple is repeated.
        temporal_strides: of stages 1 to 4.
        stem_kernel: frames that the stem sees.
        stem_stride: its stride over time.
        stem_middle: middle width of a factorized stem. None for the rule of the blocks.
        has_stem_pool: (1, 3, 3) max pooling with stride 2 after the stem.
        stem_pool_stride: stride over time of that pooling.
        is_stem_pool_padded: it sees the border, so that 112 pixels become 56. False: 55.
        temporal_pool: frames of the max pooling over time after stage 1.
        spatial_strides: of stages 1 to 4 over space.
        non_local: indices of the blocks of each stage that a non-local block follows. Only in bottlenecks.
        bottleneck: class of the blocks of depths from 50 on.
        block: what the blocks do differently. Its ``temporal_kernel`` is set block by block.
    """

    depth: int
    is_factorized: bool = False
    temporal_kernels: tuple[Kernels, Kernels, Kernels, Kernels] = (3, 3, 3, 3)
    temporal_strides: tuple[int, int, int, int] = (1, 1, 1, 1)
    stem_kernel: int = 3
    stem_stride: int = 1
    stem_middle: int | None = None
    has_stem_pool: bool = True
    stem_pool_stride: int = 1
    is_stem_pool_padded: bool = True
    temporal_pool: int = 1
    spatial_strides: tuple[int, int, int, int] = (1, 2, 2, 2)
    non_local: tuple[tuple[int, ...], ...] = ((), (), (), ())
    bottleneck: type[Bottleneck3d] = Bottleneck3d
    block: BlockOptions = field(default_factory=BlockOptions)


class ResNet3d(Backbone):
    """A ResNet on clips, with one pathway.

    R(2+1)D, R3D and MC3: Tran et al., 2018 (arXiv:1711.11248). SlowOnly: Feichtenhofer et al., 2019 (arXiv:1812.03982).
    I3D on a ResNet and C2D, both with or without non-local blocks: Wang et al., 2018 (arXiv:1711.07971). CSN: Tran et
    al., 2019 (arXiv:1904.02811).
    Parameter names are those of timm's ResNets (``layer1.0.conv1.weight``).

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, T', H', W'). A stride over time rounds T' up, the pooling over
        time rounds it down.
    """

    is_3d = True
    mixes_time = True
    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        cfg: ResNet3dCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        kernel, stride = (cfg.stem_kernel, 7), (cfg.stem_stride, 2)
        self.conv1: nn.Module = (
            Conv2plus1d(in_chans, 64, kernel, stride, cfg.stem_middle)
            if cfg.is_factorized
            else conv3d(in_chans, 64, kernel, stride)
        )
        self.bn1 = nn.BatchNorm3d(64, cfg.block.eps)
        self.act1 = nn.ReLU(inplace=True)
        padding = int(cfg.is_stem_pool_padded)
        self.maxpool: nn.Module = nn.Identity()
        if cfg.has_stem_pool:
            self.maxpool = nn.MaxPool3d((1, 3, 3), (cfg.stem_pool_stride, 2, 2), (0, padding, padding))
        self.time_pool: nn.Module = nn.Identity()
        if cfg.temporal_pool > 1:
            self.time_pool = nn.MaxPool3d((cfg.temporal_pool, 1, 1))
        self._make_stages(cfg, drop_path_rate)
        stem = 4 if cfg.has_stem_pool else 2
        reductions = [stem * factor for factor in accumulate(cfg.spatial_strides, mul)]
        widths = [64 * 2**i * (4 if cfg.depth >= 50 else 1) for i in range(4)]
        self._finish("act1", [(64, 2), *zip(widths, reductions, strict=True)], num_classes, drop_rate)
        strides = cfg.stem_stride * cfg.stem_pool_stride
        self.least_frames = (cfg.temporal_pool - 1) * strides + 1

    def _make_stages(self, cfg: ResNet3dCfg, drop_path_rate: float) -> None:
        small = BasicBlock2plus1d if cfg.is_factorized else BasicBlock3d
        block: type[BasicBlock3d] | type[Bottleneck3d] = cfg.bottleneck if cfg.depth >= 50 else small
        rates: Any = calculate_drop_path_rates(drop_path_rate, DEPTHS[cfg.depth], stagewise=True)
        inputs = 64
        for i, name in enumerate(self.stage_names):
            options = options_of_blocks(cfg.block, len(rates[i]), cfg.temporal_kernels[i], cfg.non_local[i])
            stride = (cfg.temporal_strides[i], cfg.spatial_strides[i])
            setattr(self, name, make_stage(block, inputs, 64 * 2**i, options, stride, rates[i]))
            inputs = 64 * 2**i * block.expansion
        init_convs(self)

    def _begin(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv1(x)))

    def _between(self, index: int, state: Tensor) -> Tensor:
        if index == 0:
            return self.maxpool(state)
        return self.time_pool(state) if index == 1 else state
