"""The verbs by which a method changes a network."""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from videozoo.surgery.pre_conv import PreConv2d
from videozoo.surgery.sites import find_blocks, stage_modules

__all__ = ["append_to_stage", "insert_before", "replace_modules", "set_submodule", "stage_names"]


def set_submodule(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` at the dotted ``name`` of ``net``, where a module already is.

    It and its new submodules take that module's mode (training or evaluation).

    Raises:
        AttributeError: ``net`` has no module of that name.
    """
    old = net.get_submodule(name)
    shared = set(old.modules())  # these keep their own mode, as they may be frozen on purpose
    for new in module.modules():
        if new not in shared:
            new.training = old.training
    parent, _, leaf = name.rpartition(".")
    setattr(net.get_submodule(parent), leaf, module)


def replace_modules(
    net: nn.Module, match: Callable[[nn.Module, str], bool], make: Callable[[nn.Module, str], nn.Module]
) -> list[str]:
    """Replace every submodule that ``match(module, name)`` accepts by ``make(module, name)``.

    All matches are found before the first is replaced, so ``make`` never sees its own work.

    Returns:
        the names of what was replaced, in order of registration; empty if nothing matched.
    """
    found = [(name, module) for name, module in net.named_modules() if name and match(module, name)]
    made = [(name, make(module, name)) for name, module in found]
    for name, module in made:
        set_submodule(net, name, module)
    return [name for name, _ in found]


Site = Literal["first_conv", "second_conv"]


def insert_before(
    net: nn.Module,
    make: Callable[[nn.Conv2d], nn.Module],
    *,
    site: Site = "first_conv",
    stages: tuple[int, ...] | None = None,
    every_other: bool = False,
) -> list[str]:
    """Let ``make(conv)`` run before the first, or the second, convolution of every residual branch.

    Only the branch sees it, not the shortcut. Blocks without an expanding first convolution, and inverted residuals
    without a shortcut, are left as they are (:class:`~videozoo.surgery.sites.BlockSites`).

    Args:
        net: the network, changed in place; original parameters and keys stay.
        make: gives the module for one convolution; its keys lie under ``<conv>.pre``.
        site: which convolution.
        stages: numbers of the stages to change; None for all.
        every_other: take blocks 0, 2, 4, ... of each stage only.
    Returns:
        the names of the convolutions that were changed.
    Raises:
        ValueError: no block is known, a convolution already runs something first, or its class is unknown.
    """
    names: list[str] = []
    prefixes = ("",) if stages is None else tuple(f"{m}." for stage in stages for m in stage_names(net, stage))
    for block in find_blocks(net):
        leaf = getattr(block.sites, site)
        if leaf is None or (every_other and block.index % 2) or not block.name.startswith(prefixes):
            continue
        if block.sites.only_with_skip and not getattr(block.module, "has_skip", True):
            continue
        name = f"{block.name}.{leaf}"
        conv = net.get_submodule(name)
        if isinstance(conv, PreConv2d):
            raise ValueError(
                f"insert_before: {name} is already a {type(conv).__name__}; apply at most one method that works "
                "before that convolution, and apply it before an augmenter."
            )
        if type(conv) is not nn.Conv2d:
            raise ValueError(f"insert_before: {name} is a {type(conv).__name__}; need an nn.Conv2d.")
        pre = make(conv).to(conv.weight.device, conv.weight.dtype)
        set_submodule(net, name, PreConv2d.from_conv(conv, pre))
        names.append(name)
    if not names:
        raise ValueError(
            f"insert_before: no residual block with a known {site.replace('_conv', ' convolution')} in "
            f"{type(net).__name__}; use a timm ResNet, RegNet, MobileNet or EfficientNet, or add the block's class to "
            "BLOCK_SITES."
        )
    return names


def stage_names(net: nn.Module, stage: int) -> list[str]:
    """Names of the top-level modules of one stage, 1 to 4.

    Raises:
        ValueError: the network does not tell its stages, or has no such stage.
    """
    stages = stage_modules(net)
    if stages is None or not 1 <= stage <= len(stages):
        have = "does not tell its stages" if stages is None else f"has stages 1 to {len(stages)}"
        raise ValueError(f"stage {stage} does not exist: {type(net).__name__} {have}.")
    return stages[stage - 1]


def append_to_stage(net: nn.Module, stage: int, name: str, make: Callable[[int], nn.Module]) -> str:
    """Let a module run at the end of a stage, as a child of it with a name of its own.

    Args:
        net: the network, changed in place.
        stage: 1 to 4.
        name: the new child's name.
        make: gives the module for the stage's number of output channels.
    Returns:
        the dotted name of the new module.
    Raises:
        ValueError: no such stage, or its last part is no ``nn.Sequential``.
    """
    last = stage_names(net, stage)[-1]
    parent = net.get_submodule(last)
    if type(parent) is not nn.Sequential:
        raise ValueError(f"append_to_stage: {last} is a {type(parent).__name__}; need an nn.Sequential.")
    rows: Any = net.feature_info
    rows = rows if isinstance(rows, list) else rows.info
    new = make(next(row["num_chs"] for row in rows if row["module"] == last)).train(parent.training)
    like = next(parent.parameters())
    parent.add_module(name, new.to(like.device, like.dtype))
    return f"{last}.{name}"
