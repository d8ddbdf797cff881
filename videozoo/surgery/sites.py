"""Sites inside the blocks of backbones, one row per block class."""

from collections.abc import Iterator
from dataclasses import dataclass

from timm.models import _efficientnet_blocks as effnet
from timm.models import regnet, resnet
from torch import nn

from videozoo import nets

__all__ = ["BLOCK_SITES", "BRANCH_SITES", "SEQUENCES", "Block", "BlockSites", "find_blocks"]


@dataclass(frozen=True)
class BlockSites:
    """Names of the convolutions and norms in a block that a method may change.

    ``first_conv`` is None where a block has no convolution that opens its branch (a depth-wise separable block).
    ``only_with_skip``: methods that work before the first convolution act only in blocks with a shortcut
    (TSM on MobileNetV2). ``spatial_conv`` is the first convolution over space: methods that replace the 3x3 (GST) take
    its place. ``shortcut`` is the module that projects the shortcut, in blocks that have one.

    ``gated_convs``: the convolution that a gate may follow directly, before its norm (GSM), is the first of these that
    the block has. None: ``first_conv``. A block whose attribute ``is_gated`` is false is left out.
    """

    first_conv: str | None
    second_conv: str
    first_norm: str
    second_norm: str
    only_with_skip: bool = False
    spatial_conv: str | None = None
    shortcut: str | None = None
    gated_convs: tuple[str, ...] | None = None

    def gated_conv(self, module: nn.Module) -> str | None:
        """Return the name of the convolution that a gate may follow in a block of these sites, or None."""
        if not getattr(module, "is_gated", True):
            return None
        if self.gated_convs is None:
            return self.first_conv
        names = {name for name, _ in module.named_modules()}
        return next((name for name in self.gated_convs if name in names), None)


SEQUENCES = (nn.Sequential, regnet.RegStage)  # call their children one after the other, and nothing else

_BASIC = BlockSites("conv1", "conv2", "bn1", "bn2", spatial_conv="conv1", shortcut="downsample")
_BOTTLENECK = BlockSites("conv1", "conv2", "bn1", "bn2", spatial_conv="conv2", shortcut="downsample")

# Exact classes. To support a backbone family, add its blocks here.
BLOCK_SITES: dict[type[nn.Module], BlockSites] = {
    resnet.BasicBlock: _BASIC,
    resnet.Bottleneck: _BOTTLENECK,
    regnet.Bottleneck: BlockSites(
        "conv1.conv", "conv2.conv", "conv1.bn", "conv2.bn", spatial_conv="conv2.conv", shortcut="downsample"
    ),
    effnet.InvertedResidual: BlockSites("conv_pw", "conv_dw", "bn1", "bn2", True, "conv_dw"),
    effnet.EdgeResidual: BlockSites("conv_exp", "conv_pwl", "bn1", "bn2", True, "conv_exp"),
    effnet.DepthwiseSeparableConv: BlockSites(None, "conv_pw", "bn1", "bn2", spatial_conv="conv_dw"),
    nets.RubiksBlock: BlockSites("conv1", "conv2", "bn1", "bn2"),  # each norm comes before its convolution
    # 3-D. The norms of an R(2+1)D block are those after its whole (2+1)D convolutions.
    nets.BasicBlock3d: _BASIC,
    nets.Bottleneck3d: _BOTTLENECK,
    nets.Bottleneck2plus1d: BlockSites("conv1", "conv2.3", "bn1", "bn2", spatial_conv="conv2.3"),
    nets.CsnBottleneck: _BOTTLENECK,
    nets.CsnMixingBottleneck: BlockSites("conv1", "conv2.2", "bn1", "bn2", spatial_conv="conv2.2"),
    nets.X3dBlock: _BOTTLENECK,
    nets.MoViNetBlock: BlockSites(
        "expand.conv", "depthwise.conv", "expand.bn", "depthwise.bn", spatial_conv="depthwise.conv"
    ),
    nets.EcoBlock3d: BlockSites("conv1", "conv2", "bn1", "bn2"),
    nets.EcoRest: BlockSites("conv_3x3_reduce", "conv_3x3", "bn_3x3_reduce", "bn_3x3"),
    nets.EcoEntry: BlockSites(
        *("conv_double_3x3_reduce", "conv_double_3x3_1", "bn_double_3x3_reduce", "bn_double_3x3_1")
    ),
    nets.BasicBlock2plus1d: BlockSites("conv1.spatial", "conv2.spatial", "bn1", "bn2"),
}


def _of_tower(name: str) -> tuple[str, str, str, str]:
    return f"{name}.0.conv", f"{name}.1.conv", f"{name}.0.bn", f"{name}.1.bn"


# Blocks with several branches that have at least two norms.
BRANCH_SITES: dict[type[nn.Module], tuple[BlockSites, ...]] = {
    nets.Inception: (
        BlockSites(
            *("conv_3x3_reduce", "conv_3x3", "bn_3x3_reduce", "bn_3x3"), gated_convs=("conv_1x1", "conv_3x3_reduce")
        ),
        BlockSites(
            *("conv_double_3x3_reduce", "conv_double_3x3_1", "bn_double_3x3_reduce", "bn_double_3x3_1"), gated_convs=()
        ),
    ),
    nets.Inception3d: tuple(BlockSites(f"conv_{k}a", f"conv_{k}b", f"bn_{k}a", f"bn_{k}b") for k in (1, 2)),
    # The norms of a separable convolution are those after it, not between its halves.
    nets.SeparableInception3d: tuple(
        BlockSites(f"conv_{k}a", f"conv_{k}b.spatial", f"bn_{k}a", f"bn_{k}b") for k in (1, 2)
    ),
    nets.Mixed: (
        BlockSites(*_of_tower("tower1"), gated_convs=("point.conv",)),
        BlockSites(*_of_tower("tower2"), gated_convs=()),
    ),
    nets.MixedSplit: (BlockSites(*_of_tower("tower2"), gated_convs=("point.conv",)),),
    # The tower that both strided modules have.
    nets.MixedStride: (BlockSites(*_of_tower("tower1")),),
}

# Blocks of other libraries that use torchvision's names.
_RESIDUAL_NAMES = ("conv1", "bn1", "conv2", "bn2")
_OF_A_BLOCK = ("conv1", "conv2", "conv3", "downsample", "shortcut")  # may contain several norms


@dataclass(frozen=True)
class Block:
    """One residual block of a model: its dotted name, the module, its index in the stage, and its sites.

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
    if sites is None and _is_block_by_names(module):
        sites = _BOTTLENECK if isinstance(getattr(module, "conv3", None), nn.Module) else _BASIC
    return () if sites is None else (sites,)


def _is_block_by_names(module: nn.Module) -> bool:
    """Return whether a module has the four names of a block and contains no blocks, unlike HRNet's stem."""
    if not all(isinstance(getattr(module, name, None), nn.Module) for name in _RESIDUAL_NAMES):
        return False
    parts = [child for name, child in module.named_children() if name not in _OF_A_BLOCK]
    return all(sum(hasattr(part, "eps") for part in child.modules()) < 2 for child in parts)


def find_blocks(net: nn.Module) -> list[Block]:
    """Return all blocks of ``net`` whose sites are known, in order.

    ``index`` counts within the parent (the stage).
    """
    return list(_walk(net, "", "", 0))


def _walk(module: nn.Module, name: str, parent: str, index: int) -> Iterator[Block]:
    branches = _sites_of(module)
    if branches and name:
        yield from (Block(name, module, parent, index, sites, branch) for branch, sites in enumerate(branches))
        return
    for i, (key, child) in enumerate(module.named_children()):
        yield from _walk(child, f"{name}.{key}" if name else key, name, i)
