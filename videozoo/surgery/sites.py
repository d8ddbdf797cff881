"""Where things are inside the blocks of a backbone: one row per block class, and the stages of a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from timm.models import _efficientnet_blocks as effnet
from timm.models import regnet, resnet
from torch import nn

from videozoo import nets

__all__ = ["BLOCK_SITES", "BRANCH_SITES", "Block", "BlockSites", "find_blocks", "stage_modules"]


@dataclass(frozen=True)
class BlockSites:
    """Names, inside one block, of what a method may want to change.

    ``first_conv`` is None where a block has no convolution that opens its branch (a depth-wise separable block);
    ``only_with_skip``: methods that work before the first convolution act only in blocks with a shortcut
    (TSM on MobileNetV2).
    """

    first_conv: str | None
    second_conv: str
    first_norm: str
    second_norm: str
    only_with_skip: bool = False


_RESIDUAL = BlockSites("conv1", "conv2", "bn1", "bn2")

# Exact classes. The whole knowledge of a backbone family is its rows here.
BLOCK_SITES: dict[type[nn.Module], BlockSites] = {
    resnet.BasicBlock: _RESIDUAL,
    resnet.Bottleneck: _RESIDUAL,
    regnet.Bottleneck: BlockSites("conv1.conv", "conv2.conv", "conv1.bn", "conv2.bn"),
    effnet.InvertedResidual: BlockSites("conv_pw", "conv_dw", "bn1", "bn2", only_with_skip=True),
    effnet.EdgeResidual: BlockSites("conv_exp", "conv_pwl", "bn1", "bn2", only_with_skip=True),
    effnet.DepthwiseSeparableConv: BlockSites(None, "conv_pw", "bn1", "bn2"),
    # 3-D. The norms of an R(2+1)D block are those after its whole (2+1)D convolutions.
    nets.BasicBlock3d: _RESIDUAL,
    nets.Bottleneck3d: _RESIDUAL,
    nets.BasicBlock2plus1d: BlockSites("conv1.spatial", "conv2.spatial", "bn1", "bn2"),
}

# Blocks with several branches that are long enough for a pair of norms.
BRANCH_SITES: dict[type[nn.Module], tuple[BlockSites, ...]] = {
    nets.Inception: (
        BlockSites("conv_3x3_reduce", "conv_3x3", "bn_3x3_reduce", "bn_3x3"),
        BlockSites("conv_double_3x3_reduce", "conv_double_3x3_1", "bn_double_3x3_reduce", "bn_double_3x3_1"),
    ),
}

# Blocks of other libraries that use torchvision's names.
_RESIDUAL_NAMES = ("conv1", "bn1", "conv2", "bn2")


@dataclass(frozen=True)
class Block:
    """One residual block of a network: its dotted name, the module, its place in its stage, and its sites.

    A module with several branches (:data:`BRANCH_SITES`) appears once for each, under the same name.
    """

    name: str
    module: nn.Module
    parent: str
    index: int
    sites: BlockSites
    branch: int = 0


def _sites_of(module: nn.Module) -> tuple[BlockSites, ...]:
    if type(module) in BRANCH_SITES:
        return BRANCH_SITES[type(module)]
    sites = BLOCK_SITES.get(type(module))
    if sites is None and all(isinstance(getattr(module, n, None), nn.Module) for n in _RESIDUAL_NAMES):
        # The stem of a ResNet has conv1 and bn1 too, but no conv2: only a block has all four names.
        sites = _RESIDUAL
    return () if sites is None else (sites,)


def find_blocks(net: nn.Module) -> list[Block]:
    """All blocks of ``net`` whose sites are known, in order; ``index`` counts within the parent (the stage)."""
    return list(_walk(net, "", "", 0))


def _walk(module: nn.Module, name: str, parent: str, index: int) -> Iterator[Block]:
    branches = _sites_of(module)
    if branches and name:
        yield from (Block(name, module, parent, index, sites, branch) for branch, sites in enumerate(branches))
        return
    for i, (key, child) in enumerate(module.named_children()):
        yield from _walk(child, f"{name}.{key}" if name else key, name, i)


def stage_modules(net: nn.Module) -> list[list[str]] | None:
    """Names of the top-level modules of each stage, stage 1 first; None where the network does not tell.

    A backbone of :mod:`videozoo.nets` says it itself (``stage_names``). Else it is read from timm's ``feature_info``:
    a stage ends where a feature map is taken, and features of less than a quarter of the resolution's reduction belong
    to the stem. So stage 1 is the papers' res2 (``layer1`` of a ResNet), stage 4 their res5. A MobileNet's stage may
    span several of its ``blocks.N``.
    """
    if isinstance(net, nets.Backbone):
        return [[name] for name in net.stage_names]
    ends = _feature_modules(net)
    if ends is None:
        return None
    names = [name for name, _ in _stage_candidates(net)]
    stages: list[list[str]] = []
    current: list[str] = []
    wanted = dict(ends)
    for name in names:
        current.append(name)
        if name in wanted:
            if wanted[name] >= 4:
                stages.append(current)
            current = []
    return stages or None


def _feature_modules(net: nn.Module) -> list[tuple[str, int]] | None:
    info: Any = getattr(net, "feature_info", None)
    if info is None:  # torchvision's ResNets and their likes have the names, but do not tell
        children = [name for name, _ in net.named_children()]
        if not {"layer1", "layer2", "layer3", "layer4"} <= set(children):
            return None
        stem = children[max(0, children.index("layer1") - 1)]
        return [(stem, 2), *((f"layer{i}", 2 ** (i + 1)) for i in (1, 2, 3, 4))]
    rows = info if isinstance(info, list) else info.info
    return [(row["module"], row["reduction"]) for row in rows]


def _stage_candidates(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children of the network, a child list named in feature_info (``blocks.3``) opened one level."""
    opened = {name.split(".")[0] for name, _ in _feature_modules(net) or () if "." in name}
    for key, child in net.named_children():
        if key in opened:
            yield from ((f"{key}.{sub}", grandchild) for sub, grandchild in child.named_children())
        else:
            yield key, child
