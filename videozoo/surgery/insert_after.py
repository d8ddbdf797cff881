"""The insertion of a module between a convolution and its norm."""

from collections.abc import Callable
from typing import Any

from torch import nn

from videozoo.surgery.pre_conv import PostConv2d
from videozoo.surgery.replace import Plan, reparameterizer, write_plan
from videozoo.surgery.sites import find_blocks

__all__ = ["insert_after"]


def insert_after(net: nn.Module, make: Callable[[Any], nn.Module]) -> list[str]:
    """Insert ``make(conv)`` between a convolution and its norm, once in every block.

    :class:`~videozoo.surgery.sites.BlockSites` names the convolution.

    Args:
        net: the model, changed in place. Original parameters and keys stay.
        make: returns the module for one convolution. Its keys are under ``<conv>.post``.
    Returns:
        the names of the convolutions that were changed.
    Raises:
        ValueError: no block is known, a convolution already runs another module, or its class is unknown. The model is
            left as it was.
    """
    plan: Plan = {}
    made: dict[nn.Module, nn.Module] = {}  # a block may have several names
    for block in find_blocks(net):
        child = block.sites.gated_conv(block.module)
        if child is None:
            continue
        name = f"{block.name}.{child}"
        conv: Any = net.get_submodule(name)
        if conv not in made:
            made[conv] = _with_post(net, name, conv, make)
        plan[name] = made[conv]
    if not plan:
        raise ValueError(
            f"insert_after: no block with a known convolution before a norm in {type(net).__name__}; use a timm "
            "ResNet, RegNet, MobileNet or EfficientNet, or an Inception of videozoo, or add the block's class to "
            "BLOCK_SITES."
        )
    return write_plan(net, plan)


def _with_post(net: nn.Module, name: str, conv: Any, make: Callable[[Any], nn.Module]) -> nn.Module:
    merging = reparameterizer(net, name)
    if merging is not None:
        raise ValueError(f"insert_after: {name} {merging}")
    try:
        return PostConv2d.after(conv, make)
    except ValueError as error:
        raise ValueError(f"insert_after: {name}: {error}") from error
