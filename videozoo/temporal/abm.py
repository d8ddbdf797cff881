"""Approximated bilinear modules (ABM), implanted in the blocks of a ResNet."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.layers.options import check_count
from videozoo.shapes import fold_time, to_clips
from videozoo.surgery import adopt, find_spatial, write_plan
from videozoo.temporal.blocks import BasicBlock, Bottleneck, TypedBottleneck, add_shortcut

__all__ = ["ABM", "BilinearBasicBlock", "BilinearBottleneck"]


@dataclass(frozen=True)
class ABM:
    """ABM: in the blocks of stages 2 to 4 but the first, the 3x3 becomes a product of two 3x3x3 convolutions.

    Zhu et al., 2019 (arXiv:2007.12887), the authors' "implanted" model (``iabp``). In a basic block the first 3x3 is
    replaced, in a bottleneck the only one. One factor keeps the norm, the other has a bias and none. The product starts
    as the convolution of the backbone: the first factor has its kernel in the middle step, the second is 1. The stem
    sees several consecutive frames at once, stacked as channels, and its weights are repeated for each of them.

    Args:
        frames_per_segment: frames that the stem sees per time step (the authors' snippet length).
    Raises:
        ValueError: ``frames_per_segment`` is not a whole number, or below 1.
    Example:
        >>> from videozoo import ABM, compose
        >>> model = compose("resnet18", ABM(), num_classes=10, num_frames=24)  # 8 segments of 3 frames
        >>> model.num_segments, model.sites["abm"][:2]
        (8, ['conv1', 'layer2.1'])
    """

    frames_per_segment: int = 3

    def __post_init__(self) -> None:
        check_count("ABM", "frames_per_segment", self.frames_per_segment)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change stem and blocks in place and return the names of what was changed.

        Raises:
            ValueError: the backbone has no basic blocks or bottlenecks of timm's ResNets behind the first of a stage,
                or their 3x3 is grouped, or the first convolution is no ``nn.Conv2d``. It is left as it was.
        """
        plan: dict[str, nn.Module] = {}
        for block, name, _ in find_spatial(net, owner="ABM", stages=(2, 3, 4), skip_first=True):
            kind = _BLOCKS.get(type(block.module))
            if kind is None:
                raise ValueError(
                    f"ABM: {name} is in a {type(block.module).__name__}; need a basic block or bottleneck of timm's "
                    "ResNets. Use a backbone such as 'resnet18' or 'resnet50'."
                )
            plan[block.name] = kind.from_block(block.module, num_segments)
        stem = [] if self.frames_per_segment == 1 else [_stack_frames(net, self.frames_per_segment)]
        return [*stem, *write_plan(net, plan)]


def _stack_frames(net: nn.Module, frames: int) -> str:
    """Repeat the weight of the first convolution for each of the stacked frames, in place, and return its name."""
    name, conv = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    if type(conv) is not nn.Conv2d or conv.groups > 1:
        raise ValueError(f"ABM: the first convolution {name} is a {type(conv).__name__}; need a plain nn.Conv2d.")
    conv.in_channels *= frames
    conv.weight = nn.Parameter(conv.weight.detach().repeat(1, frames, 1, 1), conv.weight.requires_grad)
    return name


def _factors(conv: Any) -> tuple[nn.Conv3d, nn.Conv3d]:
    """Return both factors of the product that equals a 3x3 convolution: its kernel in the middle step, and ones."""
    sizes: Any = (conv.in_channels, conv.out_channels, 3, (1, *conv.stride), (1, *conv.padding), (1, *conv.dilation))
    like: Any = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    make: Any = partial(nn.Conv3d, *sizes, **like)
    main, other = make(bias=conv.bias is not None), make(bias=True)
    assert other.bias is not None
    with torch.no_grad():
        main.weight.zero_()
        main.weight[:, :, 1] = conv.weight
        if main.bias is not None:
            main.bias.copy_(conv.bias)
        other.weight.zero_()
        other.bias.fill_(1)
    return main.requires_grad_(conv.weight.requires_grad), other


def _product(conv: nn.Module, norm: nn.Module, other: nn.Module, x: Tensor, num_segments: int) -> Tensor:
    clips = to_clips(x, num_segments)
    return norm(fold_time(conv(clips))) * fold_time(other(clips))


class BilinearBasicBlock(BasicBlock):
    """A basic block whose first convolution is a product of ``conv1``, normalized, and ``factor``.

    Shape:
        that of the block.
    """

    mixes_time = True
    num_segments: int
    conv1: Any
    bn1: Any
    act1: Any
    drop_block: Any
    aa: Any
    conv2: Any
    bn2: Any
    act2: Any
    factor: Any

    @classmethod
    def from_block(cls, block: Any, num_segments: int) -> "BilinearBasicBlock":
        """Take over ``block``, sharing its other parameters and key names."""
        new = adopt(cls, block)
        new.num_segments = num_segments
        new.conv1, new.factor = _factors(block.conv1)
        return new

    def forward(self, x: Tensor) -> Tensor:
        y = _product(self.conv1, self.bn1, self.factor, x, self.num_segments)
        y = self.aa(self.act1(self.drop_block(y)))
        return self.act2(add_shortcut(self, self.bn2(self.conv2(y)), x))


class BilinearBottleneck(TypedBottleneck):
    """A bottleneck whose 3x3 convolution is a product of ``conv2``, normalized, and ``factor``.

    Shape:
        that of the block.
    """

    mixes_time = True
    num_segments: int
    factor: Any

    @classmethod
    def from_block(cls, block: Any, num_segments: int) -> "BilinearBottleneck":
        """Take over ``block``, sharing its other parameters and key names."""
        new = adopt(cls, block)
        new.num_segments = num_segments
        new.conv2, new.factor = _factors(block.conv2)
        return new

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = _product(self.conv2, self.bn2, self.factor, y, self.num_segments)
        y = self.aa(self.act2(self.drop_block(y)))
        return self.act3(add_shortcut(self, self.bn3(self.conv3(y)), x))


_BLOCKS: dict[type[nn.Module], Any] = {BasicBlock: BilinearBasicBlock, Bottleneck: BilinearBottleneck}
