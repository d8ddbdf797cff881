"""BN-Inception."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.registry import register_backbone

__all__ = [
    "MODULES",
    "SIZE_MULTIPLE",
    "BnInception",
    "Inception",
    "InceptionCfg",
    "SecondStem",
    "check_size",
    "make_modules",
]


SIZE_MULTIPLE = 32


def check_size(name: str, x: Tensor) -> None:
    """Raise unless the maps of frames can be halved twice by pools and convolutions, which round differently.

    Args:
        name: the backbone, for the error.
        x: frames or clips (..., H, W).
    Raises:
        ValueError: height or width is not 1 pixel less than a multiple of 32, or up to 6 more.
    """
    if isinstance(x, Proxy) or torch.compiler.is_exporting():  # without a size, or with that of the example only
        return
    height, width = x.shape[-2:]
    if min(height, width) < SIZE_MULTIPLE - 1 or (height + 1) % SIZE_MULTIPLE > 7 or (width + 1) % SIZE_MULTIPLE > 7:
        raise ValueError(
            f"{name}: frames of {height} x {width} pixels give maps that cannot be halved, as pools and convolutions "
            "round differently; take frames whose height and width are multiples of 32, such as 224 (1 pixel less and "
            "up to 6 more are possible)."
        )


@dataclass(frozen=True)
class InceptionCfg:
    """Output channels of one module's branches, each (reducing 1x1, 3x3).

    Args:
        conv1x1: of the 1x1 branch. None where there is none and the module has stride 2.
        conv3x3: of the 3x3 branch.
        double: of the branch with two 3x3 convolutions.
        pool: of the projection behind the pooling. None: the pooled map itself.
        is_pool_max: maximum instead of average.
    """

    conv1x1: int | None
    conv3x3: tuple[int, int]
    double: tuple[int, int]
    pool: int | None
    is_pool_max: bool = False

    def outputs(self, inputs: int) -> int:
        """Return the channels of the module's output."""
        return (self.conv1x1 or 0) + self.conv3x3[1] + self.double[1] + (self.pool or inputs)


MODULES = {
    "3a": InceptionCfg(64, (64, 64), (64, 96), 32),
    "3b": InceptionCfg(64, (64, 96), (64, 96), 64),
    "3c": InceptionCfg(None, (128, 160), (64, 96), None, True),
    "4a": InceptionCfg(224, (64, 96), (96, 128), 128),
    "4b": InceptionCfg(192, (96, 128), (96, 128), 128),
    "4c": InceptionCfg(160, (128, 160), (128, 160), 128),
    "4d": InceptionCfg(96, (128, 192), (160, 192), 128),
    "4e": InceptionCfg(None, (128, 192), (192, 256), None, True),
    "5a": InceptionCfg(352, (192, 320), (160, 224), 128),
    "5b": InceptionCfg(352, (192, 320), (192, 224), 128, True),
}
# The modules of each stage. Those of stride 2 (3c and 4e) open the next stage, as in a ResNet.
_STAGES = (("3a", "3b"), ("3c", "4a", "4b", "4c", "4d"), ("4e", "5a", "5b"))


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, double 3x3, and pooling, in this order in the output.

    Every convolution has a bias and is followed by a norm and a ReLU.

    Args:
        inputs: input channels.
        cfg: channels of the branches. Without a 1x1 branch the module halves the resolution.
    Shape:
        input (B, inputs, H, W), output (B, cfg.outputs(inputs), H', W').
    """

    def __init__(self, inputs: int, cfg: InceptionCfg) -> None:
        super().__init__()
        stride = 2 if cfg.conv1x1 is None else 1
        self.has_1x1, self.has_proj = cfg.conv1x1 is not None, cfg.pool is not None
        if cfg.conv1x1 is not None:
            self.conv_1x1, self.bn_1x1 = _conv_bn(inputs, cfg.conv1x1, 1)
        reduced, out = cfg.conv3x3
        self.conv_3x3_reduce, self.bn_3x3_reduce = _conv_bn(inputs, reduced, 1)
        self.conv_3x3, self.bn_3x3 = _conv_bn(reduced, out, 3, stride)
        reduced, out = cfg.double
        self.conv_double_3x3_reduce, self.bn_double_3x3_reduce = _conv_bn(inputs, reduced, 1)
        self.conv_double_3x3_1, self.bn_double_3x3_1 = _conv_bn(reduced, out, 3)
        self.conv_double_3x3_2, self.bn_double_3x3_2 = _conv_bn(out, out, 3, stride)
        if stride == 2:
            self.pool: nn.Module = nn.MaxPool2d(3, 2, ceil_mode=True)
        else:
            self.pool = nn.MaxPool2d(3, 1, 1, ceil_mode=True) if cfg.is_pool_max else nn.AvgPool2d(3, 1, 1)
        if cfg.pool is not None:
            self.conv_pool_proj, self.bn_pool_proj = _conv_bn(inputs, cfg.pool, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        if self.has_1x1:
            maps.append(self.act(self.bn_1x1(self.conv_1x1(x))))
        y = self.act(self.bn_3x3_reduce(self.conv_3x3_reduce(x)))
        maps.append(self.act(self.bn_3x3(self.conv_3x3(y))))
        y = self.act(self.bn_double_3x3_reduce(self.conv_double_3x3_reduce(x)))
        y = self.act(self.bn_double_3x3_1(self.conv_double_3x3_1(y)))
        maps.append(self.act(self.bn_double_3x3_2(self.conv_double_3x3_2(y))))
        y = self.pool(x)
        maps.append(self.act(self.bn_pool_proj(self.conv_pool_proj(y))) if self.has_proj else y)
        return torch.cat(maps, 1)


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs)


class SecondStem(nn.Module):
    """The 1x1 and the 3x3 convolution before the first module: (B, 64, H, W) -> (B, 192, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_reduce, self.bn_reduce = _conv_bn(64, 64, 1)
        self.conv_3x3, self.bn_3x3 = _conv_bn(64, 192, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn_reduce(self.conv_reduce(x)))
        return self.act(self.bn_3x3(self.conv_3x3(x)))


def make_modules(channels: int, *names: str) -> tuple[nn.Sequential, int]:
    """Return modules in a row, by their names in :data:`MODULES`, and the channels of their output."""
    row = nn.Sequential()
    for name in names:
        row.add_module(f"inception_{name}", Inception(channels, MODULES[name]))
        channels = MODULES[name].outputs(channels)
    return row, channels


class BnInception(Backbone):
    """Inception with batch normalization, of the size that TSN uses.

    Ioffe and Szegedy, 2015 (arXiv:1502.03167), as in TSN's authors' code: max pools round their size up and have no
    padding, average pools count theirs. Differs in training only: norms have PyTorch's momentum 0.1, where that code
    has 0.9.

    Args:
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: for timm's signature. There are no residual branches to drop, so only 0.
    Shape:
        input (B, C, H, W). Features (B, 1024, H / 32, W / 32).
    Raises:
        ValueError: a ``drop_path_rate`` other than 0, or frames of a size whose maps cannot be halved
            (:func:`check_size`).
    """

    size_multiple = SIZE_MULTIPLE
    stage_names = ("stage1", "stage2", "stage3", "stage4")
    block_pattern = r"^stage(\d+)\."

    def __init__(
        self, num_classes: int = 0, in_chans: int = 3, drop_rate: float = 0.0, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        if drop_path_rate:
            raise ValueError(
                f"bninception: drop_path_rate is {drop_path_rate}, but it has no residual branches; pass 0."
            )
        self.conv1 = nn.Conv2d(in_chans, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.stage1 = SecondStem()
        maps = [(64, 2), (192, 4)]
        channels = 192
        for stage_name, row in zip(self.stage_names[1:], _STAGES, strict=True):
            stage, channels = make_modules(channels, *row)
            self.add_module(stage_name, stage)
            maps.append((channels, 2 * maps[-1][1]))
        init_convs(self)
        self._finish("act1", maps, num_classes, drop_rate)

    def _begin(self, x: Tensor) -> Tensor:
        check_size("bninception", x)
        return self.act1(self.bn1(self.conv1(x)))

    def _between(self, index: int, state: Tensor) -> Tensor:
        return self.pool(state) if index < 2 else state


register_backbone("bninception", BnInception, "BN-Inception as TSN uses it.", first_conv="conv1")
