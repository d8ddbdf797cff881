"""Inception-V3 of TSN's authors, which GSM uses."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.registry import register_backbone

__all__ = ["InceptionV3Tsn", "Mixed", "MixedCfg", "MixedSplit", "MixedStride"]

Kernel = int | tuple[int, int]
Convs = tuple[tuple[int, Kernel], ...]  # (output channels, kernel) of convolutions in a row


@dataclass(frozen=True)
class MixedCfg:
    """Output channels and kernels of one module's branches.

    Args:
        point: channels of the 1x1 branch.
        tower1, tower2: convolutions of the two deep branches.
        pool: channels of the projection behind the pooling.
        is_pool_max: maximum instead of average.
        is_gated: GSM gates its 1x1 branch. Its authors leave out one module.
    """

    point: int
    tower1: Convs
    tower2: Convs
    pool: int
    is_pool_max: bool = False
    is_gated: bool = True


def _wide(width: int, is_gated: bool = True) -> MixedCfg:
    """Return the module whose branches have 7x1 and 1x7 convolutions of that width."""
    tall, flat = (7, 1), (1, 7)
    return MixedCfg(
        192,
        ((width, 1), (width, tall), (192, flat)),
        ((width, 1), (width, flat), (width, tall), (width, flat), (192, tall)),
        192,
        is_gated=is_gated,
    )


def _split(is_pool_max: bool) -> MixedCfg:
    return MixedCfg(320, ((384, 1),), ((448, 1), (384, 3)), 192, is_pool_max)


_FINE = [MixedCfg(64, ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)), pool) for pool in (32, 64, 64)]
_MIDDLE = [_wide(128), _wide(160), _wide(160, is_gated=False), _wide(192)]
# Before the middle and the coarse modules.
_TO_MIDDLE: dict[str, Convs] = {"tower0": ((384, 3),), "tower1": ((64, 1), (96, 3), (96, 3))}
_TO_COARSE: dict[str, Convs] = {
    "tower1": ((192, 1), (320, 3)),
    "tower2": ((192, 1), (192, (7, 1)), (192, (1, 7)), (192, 3)),
}


class _ConvNorm(nn.Module):
    """A convolution with a bias, a norm and a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, is_padded: bool = True) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if is_padded else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


def _tower(inputs: int, convs: Convs, is_strided: bool = False) -> nn.Sequential:
    """Return convolutions in a row. The last one halves the resolution, without padding, if ``is_strided``."""
    tower = nn.Sequential()
    for i, (outputs, kernel) in enumerate(convs):
        halves = is_strided and i == len(convs) - 1
        tower.append(_ConvNorm(inputs, outputs, kernel, 2 if halves else 1, is_padded=not halves))
        inputs = outputs
    return tower


def _pooling(is_max: bool) -> nn.Module:
    return nn.MaxPool2d(3, 1, 1) if is_max else nn.AvgPool2d(3, 1, 1)


class Mixed(nn.Module):
    """Four branches side by side: 1x1, two towers of convolutions, and pooling, in this order in the output.

    Shape:
        input (B, inputs, H, W), output (B, outputs, H, W).
    """

    def __init__(self, inputs: int, cfg: MixedCfg) -> None:
        super().__init__()
        self.is_gated = cfg.is_gated
        self.point = _ConvNorm(inputs, cfg.point, 1)
        self.tower1, self.tower2 = _tower(inputs, cfg.tower1), _tower(inputs, cfg.tower2)
        self.pool = _pooling(cfg.is_pool_max)
        self.proj = _ConvNorm(inputs, cfg.pool, 1)
        self.outputs = cfg.point + cfg.tower1[-1][0] + cfg.tower2[-1][0] + cfg.pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.point(x), self.tower1(x), self.tower2(x), self.proj(self.pool(x))), 1)


class MixedSplit(nn.Module):
    """:class:`Mixed` whose towers end in a 3x1 and a 1x3 convolution side by side.

    Shape:
        input (B, inputs, H, W), output (B, outputs, H, W).
    """

    def __init__(self, inputs: int, cfg: MixedCfg) -> None:
        super().__init__()
        self.point = _ConvNorm(inputs, cfg.point, 1)
        self.tower1, self.tower2 = _tower(inputs, cfg.tower1), _tower(inputs, cfg.tower2)
        width1, width2 = cfg.tower1[-1][0], cfg.tower2[-1][0]
        self.ends1, self.ends2 = (
            nn.ModuleList(_ConvNorm(width, width, kernel) for kernel in ((3, 1), (1, 3))) for width in (width1, width2)
        )
        self.pool = _pooling(cfg.is_pool_max)
        self.proj = _ConvNorm(inputs, cfg.pool, 1)
        self.outputs = cfg.point + 2 * (width1 + width2) + cfg.pool

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.point(x)]
        for tower, ends in ((self.tower1, self.ends1), (self.tower2, self.ends2)):
            y = tower(x)
            maps += [end(y) for end in ends]
        return torch.cat((*maps, self.proj(self.pool(x))), 1)


class MixedStride(nn.Module):
    """Two towers and a max pooling that halve the resolution.

    Shape:
        input (B, inputs, H, W) with odd H and W, output (B, outputs, (H - 1) / 2, (W - 1) / 2).
    Raises:
        ValueError: an even H or W.
    """

    def __init__(self, inputs: int, towers: Mapping[str, Convs]) -> None:
        super().__init__()
        self.towers = tuple(towers)
        for name, convs in towers.items():
            self.add_module(name, _tower(inputs, convs, is_strided=True))
        self.pool = nn.MaxPool2d(3, 2)
        self.outputs = sum(convs[-1][0] for convs in towers.values()) + inputs

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Proxy) and not (x.shape[-2] % 2 and x.shape[-1] % 2):
            raise ValueError(
                f"inception_v3_tsn: a map of {x.shape[-2]} x {x.shape[-1]} cannot be halved, as pools and convolutions "
                "round differently; take frames of 229 pixels, as its authors do, or of 75 or 299."
            )
        return torch.cat([getattr(self, name)(x) for name in (*self.towers, "pool")], 1)


class InceptionV3Tsn(Backbone):
    """Inception-V3 as TSN's authors use it, on frames of 229 pixels.

    Szegedy et al., 2016 (arXiv:1512.00567). It differs from timm's and torchvision's: every convolution has a bias, the
    norms have eps 1e-5, max pools round their size up, average pools count their padding, and the last module has a max
    pooling.

    Args:
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: for timm's signature. There are no residual branches to drop, so only 0.
    Shape:
        input (B, C, H, W). Features (B, 2048, H', W'), 6 x 6 for 229 pixels.
    Raises:
        ValueError: a ``drop_path_rate`` other than 0, or frames of a size whose maps cannot be halved
            (:class:`MixedStride`).
    """

    stage_names = ("stage1", "stage2", "stage3", "stage4")
    stem_pattern = r"^stem"
    block_pattern = r"^stage(\d+)\."

    def __init__(
        self, num_classes: int = 0, in_chans: int = 3, drop_rate: float = 0.0, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        if drop_path_rate:
            raise ValueError(
                f"inception_v3_tsn: drop_path_rate is {drop_path_rate}, but it has no residual branches; pass 0."
            )
        self.stem = nn.Sequential(
            _ConvNorm(in_chans, 32, 3, 2, is_padded=False),
            _ConvNorm(32, 32, 3, is_padded=False),
            _ConvNorm(32, 64, 3),
        )
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.stage1 = nn.Sequential(_ConvNorm(64, 80, 1), _ConvNorm(80, 192, 3, is_padded=False))
        self.stage2, self.stage3, self.stage4 = nn.Sequential(), nn.Sequential(), nn.Sequential()
        channels, maps = 192, [(64, 2), (192, 4)]
        rows: list[list[tuple[type[nn.Module], object]]] = [
            [(Mixed, cfg) for cfg in _FINE],
            [(MixedStride, _TO_MIDDLE), *((Mixed, cfg) for cfg in _MIDDLE)],
            [(MixedStride, _TO_COARSE), (MixedSplit, _split(False)), (MixedSplit, _split(True))],
        ]
        index = 0
        for stage, row in zip((self.stage2, self.stage3, self.stage4), rows, strict=True):
            for make, cfg in row:
                module = make(channels, cfg)
                stage.add_module(f"mixed_{index}", module)
                channels, index = module.outputs, index + 1  # type: ignore[assignment]
            maps.append((channels, 2 * maps[-1][1]))
        init_convs(self)
        self._finish("stem", maps, num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def _between(self, index: int, state: Tensor) -> Tensor:
        return self.pool(state) if index < 2 else state


register_backbone(
    "inception_v3_tsn",
    InceptionV3Tsn,
    "Inception-V3 as TSN's authors use it.",
    first_conv="stem.0.conv",
    input_size=(3, 229, 229),
)
