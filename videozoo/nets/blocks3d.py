"""Residual blocks on clips (B, C, T, H, W), and the factorized convolution of R(2+1)D."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from timm.layers import DropPath
from torch import Tensor, nn

from videozoo.layers.non_local import NonLocal3d, NonLocalOptions

__all__ = [
    "BasicBlock2plus1d",
    "BasicBlock3d",
    "BlockOptions",
    "Bottleneck2plus1d",
    "Bottleneck3d",
    "Conv2plus1d",
    "Kernels",
    "conv3d",
    "make_stage",
    "middle_channels",
    "options_of_blocks",
]

Stride = tuple[int, int]  # over time, over space
Kernels = int | tuple[int, ...]  # temporal kernels of a stage's blocks, repeated until every block has one


@dataclass(frozen=True)
class BlockOptions:
    """Options of a block that differ between the models of this family.

    Args:
        temporal_kernel: frames that the temporal convolutions see: 1 or 3. In a bottleneck the first convolution is
            (k, 1, 1), in a basic block both are (k, 3, 3).
        eps: of the norms after whole convolutions. The one inside a (2+1)D convolution keeps 1e-5.
        is_middle_per_block: one middle width for both (2+1)D convolutions of a block, that of its first (torchvision),
            instead of each one's own.
        is_shortcut_factorized: the shortcut of a (2+1)D block is a (2+1)D convolution too (MMAction2).
        zero_init_last: start the last norm of each branch at zero.
        non_local: a non-local block after a bottleneck.
    """

    temporal_kernel: int = 3
    eps: float = 1e-5
    is_middle_per_block: bool = False
    is_shortcut_factorized: bool = False
    zero_init_last: bool = False
    non_local: NonLocalOptions | None = None


def conv3d(inputs: int, outputs: int, kernel: tuple[int, int], stride: Stride = (1, 1)) -> nn.Conv3d:
    """Return a convolution without bias.

    Kernel and stride are (time, space), padding keeps the size.
    """
    (kt, ks), (st, ss) = kernel, stride
    return nn.Conv3d(inputs, outputs, (kt, ks, ks), (st, ss, ss), (kt // 2, ks // 2, ks // 2), bias=False)


def middle_channels(inputs: int, outputs: int, kernel: int = 3) -> int:
    """Return the channels between the halves, so that they weigh as much as a full 3 x k x k convolution.

    Tran et al., 2018 (arXiv:1711.11248), section 3.5. Three frames whatever the temporal kernel is, as everywhere.
    """
    area = kernel * kernel
    return 3 * inputs * outputs * area // (inputs * area + 3 * outputs)


class Conv2plus1d(nn.Module):
    """A convolution over space, norm, ReLU, and a convolution over time.

    Tran et al., 2018 (arXiv:1711.11248). The stride over space is that of the first, over time that of the second.

    Shape:
        input (B, C_in, T, H, W), output (B, C_out, T', H', W').
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: Stride = (1, 1),
        middle: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        (kt, ks), (st, ss) = kernel, stride
        middle = middle or middle_channels(inputs, outputs, ks)
        self.spatial = conv3d(inputs, middle, (1, ks), (1, ss))
        self.bn = nn.BatchNorm3d(middle, eps)
        self.act = nn.ReLU(inplace=True)
        self.temporal = conv3d(middle, outputs, (kt, 1), (st, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal(self.act(self.bn(self.spatial(x))))


def _shortcut(
    inputs: int, outputs: int, options: BlockOptions, stride: Stride, conv: Callable[..., nn.Module] = conv3d
) -> nn.Module | None:
    """Return a convolution of one pixel and a norm, or None if the input can be added as it is."""
    if inputs == outputs and stride == (1, 1):
        return None
    return nn.Sequential(conv(inputs, outputs, (1, 1), stride), nn.BatchNorm3d(outputs, options.eps))


class BasicBlock3d(nn.Module):
    """Two (k, 3, 3) convolutions and a shortcut.

    Shape:
        input (B, C, T, H, W), output (B, width, T / stride[0], H / stride[1], W / stride[1]).
    """

    expansion = 1

    def __init__(
        self, inputs: int, width: int, options: BlockOptions, stride: Stride = (1, 1), drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self._make_convs(inputs, width, options, stride)
        self.bn1 = nn.BatchNorm3d(width, options.eps)
        self.act1 = nn.ReLU(inplace=True)
        self.bn2 = nn.BatchNorm3d(width, options.eps)
        self.downsample = self._shortcut(inputs, width, options, stride)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.act2 = nn.ReLU(inplace=True)
        if options.zero_init_last:
            nn.init.zeros_(self.bn2.weight)

    def _make_convs(self, inputs: int, width: int, options: BlockOptions, stride: Stride) -> None:
        self.conv1: nn.Module = conv3d(inputs, width, (options.temporal_kernel, 3), stride)
        self.conv2: nn.Module = conv3d(width, width, (options.temporal_kernel, 3))

    def _shortcut(self, inputs: int, outputs: int, options: BlockOptions, stride: Stride) -> nn.Module | None:
        return _shortcut(inputs, outputs, options, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.act2(self.drop_path(x) + shortcut)


class BasicBlock2plus1d(BasicBlock3d):
    """A basic block whose convolutions are factorized: :class:`Conv2plus1d`."""

    def _make_convs(self, inputs: int, width: int, options: BlockOptions, stride: Stride) -> None:
        kernel = (options.temporal_kernel, 3)
        middle = middle_channels(inputs, width) if options.is_middle_per_block else None
        self.conv1 = Conv2plus1d(inputs, width, kernel, stride, middle)
        self.conv2 = Conv2plus1d(width, width, kernel, (1, 1), middle)

    def _shortcut(self, inputs: int, outputs: int, options: BlockOptions, stride: Stride) -> nn.Module | None:
        conv = Conv2plus1d if options.is_shortcut_factorized else conv3d
        return _shortcut(inputs, outputs, options, stride, conv)


class Bottleneck3d(nn.Module):
    """(k, 1, 1), (1, 3, 3) and (1, 1, 1) convolutions and a shortcut.

    The stride is that of the second. A non-local block may follow.

    Feichtenhofer et al., 2019 (arXiv:1812.03982), table 1.

    Shape:
        input (B, C, T, H, W), output (B, 4 width, T / stride[0], H / stride[1], W / stride[1]).
    """

    expansion = 4

    def __init__(
        self, inputs: int, width: int, options: BlockOptions, stride: Stride = (1, 1), drop_path: float = 0.0
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = conv3d(inputs, width, (options.temporal_kernel, 1))
        self.bn1 = nn.BatchNorm3d(width, options.eps)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2: nn.Module = conv3d(width, width, (1, 3), stride)
        self.bn2 = nn.BatchNorm3d(width, options.eps)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = conv3d(width, outputs, (1, 1))
        self.bn3 = nn.BatchNorm3d(outputs, options.eps)
        self.downsample = _shortcut(inputs, outputs, options, stride)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.act3 = nn.ReLU(inplace=True)
        self.non_local = NonLocal3d(outputs, options.non_local) if options.non_local else nn.Identity()
        if options.zero_init_last:
            nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.non_local(self.act3(self.drop_path(x) + shortcut))


def options_of_blocks(
    options: BlockOptions, count: int, kernels: Kernels, non_local: Sequence[int] = ()
) -> list[BlockOptions]:
    """Return the options of each block of a stage.

    Args:
        options: what all blocks share. ``non_local`` is that of the blocks that have one.
        count: number of blocks.
        kernels: their temporal kernels.
        non_local: indices of the blocks that a non-local block follows.
    """
    sizes = islice(cycle((kernels,) if isinstance(kernels, int) else kernels), count)
    return [
        replace(options, temporal_kernel=size, non_local=options.non_local if i in non_local else None)
        for i, size in enumerate(sizes)
    ]


class Bottleneck2plus1d(Bottleneck3d):
    """A bottleneck whose second convolution is factorized as in PyTorchVideo: first over time, then over space.

    The width between the two is that of the block, and strides are those of the halves.
    """

    def __init__(
        self, inputs: int, width: int, options: BlockOptions, stride: Stride = (1, 1), drop_path: float = 0.0
    ) -> None:
        super().__init__(inputs, width, options, stride, drop_path)
        time, space = stride
        self.conv2 = nn.Sequential(
            conv3d(width, width, (3, 1), (time, 1)),
            nn.BatchNorm3d(width, options.eps),
            nn.ReLU(inplace=True),
            conv3d(width, width, (1, 3), (1, space)),
        )


def make_stage(
    block: type[BasicBlock3d] | type[Bottleneck3d],
    inputs: int,
    width: int,
    options: Sequence[BlockOptions],
    stride: Stride,
    drop_paths: Sequence[float],
) -> nn.Sequential:
    """Return blocks in a row, one for each of the options and drop rates.

    The first one has the stride.
    """
    blocks: list[nn.Module] = []
    for own, drop_path in zip(options, drop_paths, strict=True):
        blocks.append(block(inputs, width, own, stride if not blocks else (1, 1), drop_path))
        inputs = width * block.expansion
    return nn.Sequential(*blocks)
