"""Common parts of temporal modules that change whole residual blocks of timm's ResNets."""

from typing import Any

from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from videozoo.surgery import find_blocks, stage_prefixes

__all__ = ["BasicBlock", "Bottleneck", "TypedBottleneck", "add_shortcut", "find_bottlenecks"]


class TypedBottleneck(Bottleneck):
    """Bottleneck of timm whose layers may be modules of any class, for those that replace some of them."""

    conv1: Any
    bn1: Any
    act1: Any
    conv2: Any
    bn2: Any
    act2: Any
    drop_block: Any
    aa: Any
    conv3: Any
    bn3: Any
    act3: Any


def add_shortcut(block: Any, y: Tensor, x: Tensor) -> Tensor:
    """Return what a block of timm's ResNets makes of its branch before the last activation.

    Args:
        block: the block, for its attention, stochastic depth and shortcut.
        y: output of the last norm of the branch.
        x: input of the block.
    """
    if block.se is not None:
        y = block.se(y)
    if block.drop_path is not None:
        y = block.drop_path(y)
    return y + (x if block.downsample is None else block.downsample(x))


def find_bottlenecks(net: nn.Module, *, owner: str, stages: tuple[int, ...]) -> list[tuple[str, Any]]:
    """Return names and modules of all blocks of some stages, which are bottlenecks of timm's ResNets.

    Args:
        net: the model.
        owner: name of the method, for messages.
        stages: numbers of the stages.
    Raises:
        ValueError: there are no blocks, or another kind of block.
    """
    prefixes = stage_prefixes(net, stages)
    found = [(block.name, block.module) for block in find_blocks(net) if block.name.startswith(prefixes)]
    kinds = {type(module) for _, module in found}
    if kinds != {Bottleneck}:
        names = sorted(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}" for kind in kinds - {Bottleneck})
        raise ValueError(
            f"{owner}: {type(net).__name__} has {', '.join(names) or 'no known blocks'} where resnet.Bottleneck of "
            "timm (1x1, 3x3, 1x1) is needed; use a ResNet of such blocks, for example 'resnet50'."
        )
    return found
