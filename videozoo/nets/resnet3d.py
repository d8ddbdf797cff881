"""One-pathway 3-D ResNets: R(2+1)D and SlowOnly."""

from dataclasses import dataclass, field
from functools import partial
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
    conv3d,
    make_stage,
)
from videozoo.nets.registry import register_backbone

__all__ = ["DEPTHS", "ResNet3d", "ResNet3dCfg"]

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}


@dataclass(frozen=True)
class ResNet3dCfg:
    """One model of the family.

    Args:
        depth: of the ResNet that it is made from. 50 and more have bottlenecks.
        is_factorized: (2+1)D convolutions, the stem's too.
        temporal_kernels: of stages 1 to 4, see :class:`BlockOptions`.
        temporal_strides: of stages 1 to 4.
        stem_kernel: frames that the stem sees.
        stem_middle: middle width of a factorized stem. None for the rule of the blocks.
        has_stem_pool: (1, 3, 3) max pooling with stride 2 after the stem.
        block: what the blocks do differently. Its ``temporal_kernel`` is set stage by stage.
    """

    depth: int
    is_factorized: bool = False
    temporal_kernels: tuple[int, int, int, int] = (3, 3, 3, 3)
    temporal_strides: tuple[int, int, int, int] = (1, 1, 1, 1)
    stem_kernel: int = 3
    stem_middle: int | None = None
    has_stem_pool: bool = True
    block: BlockOptions = field(default_factory=BlockOptions)


class ResNet3d(Backbone):
    """A ResNet on clips, with one pathway.

    R(2+1)D: Tran et al., 2018 (arXiv:1711.11248). SlowOnly: Feichtenhofer et al., 2019 (arXiv:1812.03982).
    Parameter names are those of timm's ResNets (``layer1.0.conv1.weight``).

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, T', H', W'), T' = ceil(T / product of the temporal strides).
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
        kernel, stride = (cfg.stem_kernel, 7), (1, 2)
        self.conv1: nn.Module = (
            Conv2plus1d(in_chans, 64, kernel, stride, cfg.stem_middle)
            if cfg.is_factorized
            else conv3d(in_chans, 64, kernel, stride)
        )
        self.bn1 = nn.BatchNorm3d(64, cfg.block.eps)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if cfg.has_stem_pool else nn.Identity()
        self._make_stages(cfg, drop_path_rate)
        reduction = 4 if cfg.has_stem_pool else 2
        widths = [64 * 2**i * (4 if cfg.depth >= 50 else 1) for i in range(4)]
        maps = [(64, 2), *((width, reduction * 2**i) for i, width in enumerate(widths))]
        self._finish("act1", maps, num_classes, drop_rate)

    def _make_stages(self, cfg: ResNet3dCfg, drop_path_rate: float) -> None:
        small = BasicBlock2plus1d if cfg.is_factorized else BasicBlock3d
        block: type[BasicBlock3d] | type[Bottleneck3d] = Bottleneck3d if cfg.depth >= 50 else small
        rates: Any = calculate_drop_path_rates(drop_path_rate, DEPTHS[cfg.depth], stagewise=True)
        inputs = 64
        for i, name in enumerate(self.stage_names):
            options = BlockOptions(**{**vars(cfg.block), "temporal_kernel": cfg.temporal_kernels[i]})
            stride = (cfg.temporal_strides[i], 2 if i else 1)
            setattr(self, name, make_stage(block, inputs, 64 * 2**i, options, stride, rates[i]))
            inputs = 64 * 2**i * block.expansion
        init_convs(self)

    def _begin(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv1(x)))

    def _between(self, index: int, state: Tensor) -> Tensor:
        return self.maxpool(state) if index == 0 else state


def _register(name: str, cfg: ResNet3dCfg, summary: str) -> None:
    first = "conv1.spatial" if cfg.is_factorized else "conv1"
    register_backbone(name, partial(ResNet3d, cfg), summary, first_conv=first)


_r2plus1d = partial(ResNet3dCfg, is_factorized=True, temporal_strides=(1, 2, 2, 2))
_register(
    "r2plus1d_resnet34",
    _r2plus1d(34, block=BlockOptions(eps=1e-3, is_shortcut_factorized=True)),
    "R(2+1)D-34 as in MMAction2: max pooling after the stem, factorized shortcuts, norms with eps 1e-3.",
)
for _depth in (18, 34):
    _register(
        f"r2plus1d_resnet{_depth}_tv",
        _r2plus1d(_depth, stem_middle=45, has_stem_pool=False, block=BlockOptions(is_middle_per_block=True)),
        f"R(2+1)D-{_depth} as in torchvision: no max pooling, 45 channels inside the stem, plain shortcuts.",
    )
_register(
    "r2plus1d_resnet34_vmz",
    _r2plus1d(34, stem_middle=45, has_stem_pool=False),
    "R(2+1)D-34 as its authors': torchvision's, but with a middle width for each convolution.",
)
for _depth in (50, 101):
    _register(
        f"slowonly_resnet{_depth}",
        ResNet3dCfg(_depth, temporal_kernels=(1, 1, 3, 3), stem_kernel=1, block=BlockOptions(zero_init_last=True)),
        f"SlowOnly on ResNet-{_depth}: the slow pathway alone, temporal kernels in the last two stages.",
    )
