"""DNR: where the dynamic norms go, and which of them share a relay.

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021.
"""

from dataclasses import dataclass
from typing import Literal

from timm.models import regnet
from torch import nn

from videozoo.augment.dynamic_norm import (
    NORM_TYPES,
    CrossLayerNorm2d,
    CrossLayerNorm3d,
    CrossTemporalNorm2d,
    CrossTemporalNorm3d,
    NormKind,
    Statistics,
)
from videozoo.layers import RelayCell, TemporalShift
from videozoo.layers.relay_cell import RELAYS, Relay
from videozoo.layers.temporal_shift import ClipShift
from videozoo.surgery import Block, BlockSites, RelayStage, find_blocks, insert_before, set_submodule, thread_state
from videozoo.surgery.pre_conv import PreConv3d

__all__ = ["DNR", "Order"]

Order = Literal["cl_ct", "ct_cl", "cl_bn", "ct_bn", "bn_cl", "bn_ct"]
_ORDERS = ("cl_ct", "ct_cl", "cl_bn", "ct_bn", "bn_cl", "bn_ct")
_SEQUENCES = (nn.Sequential, regnet.RegStage)  # call their children one after the other, and nothing else


@dataclass(frozen=True)
class DNR:
    """Predict the affine pair of norms from the clip, relayed over time (CT) and over depth (CL).

    In every residual block the first norm becomes cross-layer and the second cross-temporal; a third norm, the
    shortcut's and the stem's stay. Blocks of one stage whose first norms have equally many channels share one
    cross-layer cell, which starts from zero; a block that has no such neighbour predicts from its own clip alone.

    In 3-D networks groups are cut along the T of the layer's own input, which strides may have shortened: the last
    group may be shorter, down to a single step, and a layer that has at most ``ct_group_frames`` steps left has one
    group and nothing to relay; take a smaller ``ct_group_frames`` for short clips. First and second norm are

    * R(2+1)D: those after the whole first and second (2+1)D convolution; the norms between the halves stay;
    * SlowFast: those of each block, as in 2-D; a pathway's stage is a stage of its own, with relays of its own;
      lateral norms stay;
    * BN-Inception (2-D), which has no residual blocks: in each branch with two convolutions or more, the 3x3 and the
      double 3x3 one, those of its first two. The relay over depth runs from module to module along the same branch.

    Args:
        order: what the first and the second norm of a block become; ``bn`` leaves one as it is (Table 1a).
        ct_group_frames: frames in a group, the relay distance over time (Table 1b).
        cl_distance: blocks from one state to the next, the relay distance over depth (Table 1b).
        reduction, depth: of the bottlenecks in the relay (Table 1c).
        relay: kind of relay (Table 1d).
        interlace: shift channels over time before each block (section 3.3). None: only in a network of known blocks
            that does not mix time already.
        norm: standardise by ``"bn"`` or ``"gn"`` (Table 3); None keeps what the network has.
        bidirectional: a second cross-temporal relay from the last group to the first (the supplement).
        keep_affine: start from the trained affine pair instead of dropping it; an extension, not in the paper.
        linear_bias: a bias in every linear map of the relay, as in the authors' code, instead of one for the gates.
        ct_statistics: what a cross-temporal batch norm standardises by in training: ``"batch"``, all frames of the
            batch, "as usual" as the paper says, or ``"group"``, every group by its own frames of all clips, as in the
            authors' code. Evaluation is the same.
    Raises:
        ValueError: an option has a value that is not listed, or a count is below 1.
    """

    order: Order = "cl_ct"
    ct_group_frames: int = 4
    cl_distance: int = 1
    reduction: int = 4
    depth: int = 1
    relay: Relay = "lstm"
    interlace: bool | None = None
    norm: NormKind | None = None
    bidirectional: bool = False
    keep_affine: bool = False
    linear_bias: bool = False
    ct_statistics: Statistics = "batch"

    def __post_init__(self) -> None:
        kinds = {"order": _ORDERS, "relay": RELAYS, "norm": (None, "bn", "gn"), "ct_statistics": ("batch", "group")}
        for option, choices in kinds.items():
            if getattr(self, option) not in choices:
                raise ValueError(f"DNR: {option} is {getattr(self, option)!r}; choose one of {choices}.")
        for option in ("ct_group_frames", "cl_distance", "reduction", "depth"):
            if getattr(self, option) < 1:
                raise ValueError(f"DNR: {option} is {getattr(self, option)}; need 1 or more.")

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the norms of ``net`` in place.

        Known blocks are found by class; in another network every module that holds two norms or more itself is a
        block, and its first two norms, in order of registration, are changed. States are relayed over depth between
        blocks that lie side by side in an ``nn.Sequential``.

        Args:
            net: any network on folded frames (B*S, C, H, W).
            num_segments: time steps S.
        Returns:
            the names of the norms that were changed, and of the convolutions before which channels are interlaced.
        Raises:
            ValueError: no block with two norms; a norm of an unknown class; a block whose forward cannot be followed.
        """
        known = find_blocks(net)
        blocks = known or _blocks_by_norms(net)
        if not blocks:
            raise ValueError(
                f"DNR: nothing to change in {type(net).__name__}: no module in it holds two norms of the kinds "
                f"{', '.join(t.__name__ for t in NORM_TYPES)}."
            )
        changed: list[str] = []
        if self.interlace and not known:
            raise ValueError(
                f"DNR: interlace=True, but {type(net).__name__} has no block with a known first convolution; "
                "pass interlace=None or False, or add the block's class to BLOCK_SITES."
            )
        if known and self._interlaces(net):
            changed += (
                _interlace_clips(net, known)
                if any(_takes_clips(net, module) for module in net.modules())
                else insert_before(net, lambda _: TemporalShift(num_segments))
            )
        first, second = self.order.split("_")
        for kind, site in ((first, "first_norm"), (second, "second_norm")):
            names = [_join(block.name, getattr(block.sites, site)) for block in blocks]
            if kind == "ct":
                changed += [self._set_cross_temporal(net, name, num_segments) for name in names]
            elif kind == "cl":
                changed += self._set_cross_layer(net, blocks, names, num_segments)
        return changed

    def _interlaces(self, net: nn.Module) -> bool:
        if self.interlace is not None:
            return self.interlace
        return not any(getattr(module, "mixes_time", False) for module in net.modules())

    def _set_cross_temporal(self, net: nn.Module, name: str, num_segments: int, *, whole_clip: bool = False) -> str:
        norm = net.get_submodule(name)
        backward = self._cell(norm) if self.bidirectional and not whole_clip else None
        make = CrossTemporalNorm3d if _takes_clips(net, norm) else CrossTemporalNorm2d
        new = make(
            norm,
            num_segments,
            self._cell(norm, recurrent=not whole_clip),
            None if whole_clip else self.ct_group_frames,
            backward,
            self.norm,
            self.keep_affine,
            "batch" if whole_clip else self.ct_statistics,
        )
        set_submodule(net, name, new)
        return name

    def _set_cross_layer(self, net: nn.Module, blocks: list[Block], names: list[str], num_segments: int) -> list[str]:
        site = dict(zip(blocks, names, strict=True))
        for parent, runs in _runs(net, site).items():
            long_runs = [run for run in runs if len(run) > 1]
            for run in runs:
                if len(run) == 1:
                    self._set_cross_temporal(net, site[run[0]], num_segments, whole_clip=True)
            # A sequence without a relay becomes a stage too, so that all of them can recompute their activations.
            if long_runs or (parent and type(net.get_submodule(parent)) in _SEQUENCES):
                self._relay_over_depth(net, parent, long_runs, site, num_segments)
        return names

    def _relay_over_depth(
        self, net: nn.Module, parent: str, runs: list[list[Block]], site: dict[Block, str], num_segments: int
    ) -> None:
        cells: list[nn.Module] = []
        norms: dict[str, list[str]] = {}  # of each block, in the order of the runs
        for run in runs:
            cells.append(self._cell(net.get_submodule(site[run[0]]), recurrent=len(run) > self.cl_distance))
            for block in run:
                name, norm = site[block], net.get_submodule(site[block])
                make = CrossLayerNorm3d if _takes_clips(net, norm) else CrossLayerNorm2d
                set_submodule(net, name, make(norm, num_segments, self.norm, self.keep_affine))
                norms.setdefault(block.name, []).append(name.removeprefix(f"{block.name}."))
        for name, own in norms.items():
            set_submodule(net, name, thread_state(net.get_submodule(name), *own))
        leaves = [[block.name.rpartition(".")[2] for block in run] for run in runs]
        set_submodule(net, parent, RelayStage(net.get_submodule(parent), leaves, cells, self.cl_distance))

    def _cell(self, norm: nn.Module, recurrent: bool = True) -> RelayCell:
        cell = RelayCell(_channels(norm), self.reduction, self.depth, self.relay, self.linear_bias, recurrent)
        like = next(norm.parameters(), None)
        return cell if like is None else cell.to(like.device, like.dtype)


def _channels(norm: nn.Module) -> int:
    return int(getattr(norm, "num_features", 0) or getattr(norm, "num_channels", 0))


def _join(block: str, site: str) -> str:
    return f"{block}.{site}" if block else site


def _takes_clips(net: nn.Module, norm: nn.Module) -> bool:
    """Whether a norm sees clips (B, C, T, H, W): the network says so, or the norm's class does."""
    return getattr(net, "is_3d", False) or type(norm) is nn.BatchNorm3d


def _interlace_clips(net: nn.Module, blocks: list[Block]) -> list[str]:
    """Shift channels over time before the first convolution of each block of a 3-D network."""
    names = [_join(block.name, block.sites.first_conv) for block in blocks if block.sites.first_conv]
    for name in names:
        conv = net.get_submodule(name)
        if not isinstance(conv, nn.Conv3d):
            raise ValueError(f"DNR: interlace: {name} is a {type(conv).__name__}; need an nn.Conv3d.")
        set_submodule(net, name, PreConv3d.from_conv(conv, ClipShift()))
    return names


def _runs(net: nn.Module, site: dict[Block, str]) -> dict[str, list[list[Block]]]:
    """Blocks by parent, cut into runs that can share a relay: neighbours in a sequence, one branch, equal channels."""

    def channels(block: Block) -> int:
        return _channels(net.get_submodule(site[block]))

    runs: dict[str, list[list[Block]]] = {}
    before: dict[int, Block] = {}  # by branch
    for block in site:
        last = before.get(block.branch)
        row = runs.setdefault(block.parent, [])
        is_stage = block.parent and type(net.get_submodule(block.parent)) in _SEQUENCES
        if last is not None and is_stage and last.parent == block.parent and channels(last) == channels(block):
            next(run for run in row if run[-1] is last).append(block)
        else:
            row.append([block])
        before[block.branch] = block
    return runs


def _blocks_by_norms(net: nn.Module) -> list[Block]:
    """Blocks of a network whose classes are unknown: modules that hold at least two norms themselves."""
    blocks = []
    for name, module in net.named_modules():
        norms = [key for key, child in module.named_children() if type(child) in NORM_TYPES]
        if len(norms) >= 2 and not isinstance(module, nn.ModuleList | nn.ModuleDict):  # those compute nothing
            parent, _, leaf = name.rpartition(".")
            index = [key for key, _ in net.get_submodule(parent).named_children()].index(leaf) if leaf else 0
            blocks.append(Block(name, module, parent, index, BlockSites(None, "", norms[0], norms[1])))
    return blocks
