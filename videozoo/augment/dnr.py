"""DNR: where the dynamic norms go, and which of them share a relay.

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Literal, TypeVar, get_args

from torch import nn

from videozoo.augment.cross_norms import (
    CrossLayerNorm2d,
    CrossLayerNorm3d,
    CrossTemporalNorm2d,
    CrossTemporalNorm3d,
    Statistics,
)
from videozoo.augment.dnr_blocks import (
    channels_of,
    check_share,
    find_pairs,
    mixes_time,
    norms_at,
    runs_of,
    takes_clips,
)
from videozoo.augment.dynamic_norm import NormKind
from videozoo.layers import RelayCell, TemporalShift
from videozoo.layers.options import check_choice, check_flag, check_unused
from videozoo.layers.relay_cell import RELAYS, Relay
from videozoo.layers.temporal_shift import ClipShift
from videozoo.surgery import Block, RelayStage, plan_before, take_over_checkpointing, write_plan
from videozoo.surgery.pre_conv import PreConv3d
from videozoo.surgery.replace import Plan
from videozoo.surgery.sites import SEQUENCES

__all__ = ["DNR", "Order"]

Order = Literal["cl_ct", "ct_cl", "cl_bn", "ct_bn", "bn_cl", "bn_ct"]
_CHOICES = {
    "order": get_args(Order),
    "relay": RELAYS,
    "norm": (None, *get_args(NormKind)),
    "ct_statistics": get_args(Statistics),
}
N = TypeVar("N", bound=nn.Module)
_COUNTS = ("ct_group_frames", "cl_distance", "reduction", "depth")


@dataclass(frozen=True)
class DNR:
    """Predict the affine pair of norms from the clip, relayed over time (CT) and over depth (CL).

    In every residual block the first norm becomes cross-layer and the second cross-temporal; a third norm, the
    shortcut's and the stem's stay. That is section 4.2 and Table 1a; for basic blocks section 3.3 has the two the other
    way round (``order="ct_cl"``). Blocks of one stage whose first norms have equally many channels share one
    cross-layer cell, which starts from zero; a block that has no such neighbour predicts from its own clip alone.

    In 3-D networks groups are cut along the T of the layer's own input, which strides may have shortened: the last
    group may be shorter, down to a single step, and a layer that has at most ``ct_group_frames`` steps left has one
    group and nothing to relay; take a smaller ``ct_group_frames`` for short clips. First and second norm are

    * R(2+1)D: those after the whole first and second (2+1)D convolution; the norms between the halves stay;
    * SlowFast: those of each block, as in 2-D; a pathway's stage is a stage of its own, with relays of its own;
      lateral norms stay;
    * Res2Net: the first, and all norms of the scales; the last stays;
    * BN-Inception (2-D), which has no residual blocks: in each branch with two convolutions or more, the 3x3 and the
      double 3x3 one, those of its first two. The relay over depth runs from module to module along the same branch.

    Args:
        order: what the first and the second norm of a block become; ``bn`` leaves one as it is (Table 1a).
        ct_group_frames: frames in a group, the relay distance over time (Table 1b).
        cl_distance: blocks from one state to the next, the relay distance over depth (Table 1b).
        reduction, depth: of the bottlenecks in the relay (Table 1c).
        relay: kind of relay (Table 1d).
        interlace: shift channels over time before each block (section 3.3, which gives no fraction): TSM's 1/8 each
            way, on the residual branch, not the shortcut, and not in inverted residuals without a shortcut. None: only
            in a network of known blocks that does not mix time already.
        norm: standardise by ``"bn"`` or ``"gn"`` (Table 3); None keeps what the network has.
        bidirectional: a second cross-temporal relay from the last group to the first (the supplement).
        keep_affine: start from the trained affine pair instead of dropping it; an extension, not in the paper.
        linear_bias: a bias in every linear map of the relay, as in the authors' code, instead of one for the gates.
        ct_statistics: what a cross-temporal batch norm standardises by in training: ``"batch"``, all frames of the
            batch, "as usual" as the paper says, or ``"group"``, every group by its own frames of all clips, as in the
            authors' code. Evaluation is the same.
    Raises:
        ValueError: an option has a value that is not listed, a count is no whole number of at least 1, or an option has
            no effect with the others.
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
        for option, choices in _CHOICES.items():
            check_choice("DNR", option, getattr(self, option), choices)
        for option in _COUNTS:
            value = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"DNR: {option} is {value!r}; need 1 or more, a whole number.")
        for option in ("bidirectional", "keep_affine", "linear_bias"):
            check_flag("DNR", option, getattr(self, option))
        if self.interlace is not None:
            check_flag("DNR", "interlace", self.interlace)
        order, relay = f"order={self.order!r}", f"relay={self.relay!r}"
        if "ct" not in self.order:
            check_unused("DNR", self, ("ct_group_frames", "bidirectional", "ct_statistics"), order)
        if "cl" not in self.order:
            check_unused("DNR", self, ("cl_distance",), order)
        if self.relay == "none":
            check_unused("DNR", self, ("cl_distance",), relay)
        if self.relay == "fc":
            check_unused("DNR", self, ("reduction", "depth"), relay)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the norms of ``net`` in place; all is found and made first, so what raises leaves it as it was.

        Known blocks are found by class; in another network every module that holds two norms or more and a spatial
        convolution itself is a block, and its first two norms, in order of registration, are changed; norms in a list
        are one place. States are relayed over depth between blocks that lie side by side in an ``nn.Sequential``, which
        becomes a :class:`~videozoo.surgery.RelayStage`. Blocks stay as they are, with their class, mode and hooks.

        Warns where nothing tells the order of frames: no channels are interlaced, nothing else mixes time, and the clip
        is one group; and where ``interlace=None`` finds blocks that it does not know.

        Args:
            net: any network on folded frames (B*S, C, H, W), or a 3-D one on clips.
            num_segments: time steps S.
        Returns:
            the names of the norms that were changed, and of the convolutions before which channels are interlaced.
        Raises:
            ValueError: no block with two norms; too few of the norms lie in blocks; a norm of an unknown class or with
                hooks; channels cannot be interlaced.
        """
        blocks, is_known = find_pairs(net)
        if self.interlace and not is_known:
            raise ValueError(
                f"DNR: interlace=True, but {type(net).__name__} has no block with a known first convolution; "
                "pass interlace=None or False, or add the block's class to BLOCK_SITES."
            )
        mixes = mixes_time(net)
        interlaces = is_known and (not mixes if self.interlace is None else self.interlace)
        check_share(net, sum(len(norms_at(block, site)) for block in blocks for site in ("first_norm", "second_norm")))
        plan = self._plan(net, blocks, num_segments)
        shifts = _plan_interlacing(net, blocks, num_segments) if interlaces else {}
        if not mixes and not interlaces:
            self._warn(net, num_segments, is_known)
        changed = write_plan(net, {**shifts, **plan.norms})
        for name, cells in plan.stages.items():
            RelayStage.take_over(net.get_submodule(name), cells, self.cl_distance)
        take_over_checkpointing(net)
        return changed

    def _warn(self, net: nn.Module, num_segments: int, is_known: bool) -> None:
        name = type(net).__name__
        if "ct" not in self.order or self.relay == "none" or num_segments <= self.ct_group_frames:
            warnings.warn(
                f"DNR: {name} is blind to the order of frames: no channels are interlaced over time, nothing else in "
                f"it mixes time, and no relay runs from group to group ({num_segments} frames, ct_group_frames="
                f"{self.ct_group_frames}). Pass a smaller ct_group_frames, or apply a temporal module such as TSM "
                "first.",
                stacklevel=3,
            )
        elif self.interlace is None and not is_known:
            warnings.warn(
                f"DNR: no channels are interlaced over time in {name}, whose blocks have no known first convolution; "
                "pass interlace=False if that is meant.",
                stacklevel=3,
            )

    def _plan(self, net: nn.Module, blocks: list[Block], num_segments: int) -> "_Plan":
        plan = _Plan()
        for kind, site in zip(self.order.split("_"), ("first_norm", "second_norm"), strict=True):
            sites = {block: norms_at(block, site) for block in blocks}
            if kind == "ct":
                for name in chain(*sites.values()):
                    plan.norms[name] = self._cross_temporal(net, name, num_segments)
            elif kind == "cl":
                if any(len(names) > 1 for names in sites.values()):
                    raise ValueError(
                        f"DNR: order={self.order!r} puts the cross-layer norm where {type(net).__name__} has several "
                        "norms side by side; pass order='cl_ct'."
                    )
                self._plan_cross_layer(plan, net, {block: names[0] for block, names in sites.items()}, num_segments)
        for name in plan.stages:
            if hasattr(net.get_submodule(name), "relay"):
                raise ValueError(f"DNR: {name} has an attribute 'relay', the name of its shared cells; rename it.")
        return plan

    def _cross_temporal(
        self, net: nn.Module, name: str, num_segments: int, *, whole_clip: bool = False
    ) -> CrossTemporalNorm2d:
        norm = net.get_submodule(name)
        backward = self._cell(norm) if self.bidirectional and not whole_clip else None
        make = CrossTemporalNorm3d if takes_clips(net, name) else CrossTemporalNorm2d
        return _make(
            name,
            lambda: make(
                norm,
                num_segments,
                self._cell(norm, recurrent=not whole_clip),
                None if whole_clip else self.ct_group_frames,
                backward,
                self.norm,
                self.keep_affine,
                "batch" if whole_clip else self.ct_statistics,
            ),
        )

    def _plan_cross_layer(self, plan: "_Plan", net: nn.Module, site: dict[Block, str], num_segments: int) -> None:
        made: dict[str, nn.Module] = {}
        for parent, runs in runs_of(net, site).items():
            cells: list[nn.Module] = []
            for run in runs:
                if len(run) == 1:
                    name = site[run[0]]
                    made[name] = self._cross_temporal(net, name, num_segments, whole_clip=True)
                    continue
                for block in run:
                    name, norm = site[block], net.get_submodule(site[block])
                    make = CrossLayerNorm3d if takes_clips(net, name) else CrossLayerNorm2d
                    options = (norm, num_segments, self.norm, self.keep_affine, len(cells))
                    made[name] = _make(name, partial(make, *options))
                first = net.get_submodule(site[run[0]])
                cells.append(self._cell(first, recurrent=len(run) > self.cl_distance))
            # A sequence without a relay becomes a stage too, so that all of them can recompute their activations.
            if cells or (parent and type(net.get_submodule(parent)) in SEQUENCES):
                plan.stages[parent] = cells
        plan.norms |= {name: made[name] for name in site.values()}

    def _cell(self, norm: nn.Module, recurrent: bool = True) -> RelayCell:
        cell = RelayCell(channels_of(norm), self.reduction, self.depth, self.relay, self.linear_bias, recurrent)
        tensors = chain(norm.parameters(), norm.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        cell = cell if like is None else cell.to(like.device, like.dtype)
        return cell.train(norm.training)


@dataclass
class _Plan:
    """What to write: the new norms by name, and the shared cells of each stage by the name of its sequence."""

    norms: dict[str, nn.Module] = field(default_factory=dict)
    stages: dict[str, list[nn.Module]] = field(default_factory=dict)


def _make(name: str, make: Callable[[], N]) -> N:
    """A norm for the place of that name, which errors then tell."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"DNR: {name}: {str(error).removeprefix('DNR: ')}") from error


def _plan_interlacing(net: nn.Module, blocks: list[Block], num_segments: int) -> Plan:
    """Make the convolutions that shift channels over time first, one in each block."""
    try:
        if not any(takes_clips(net, norms_at(block, "first_norm")[0]) for block in blocks):
            return plan_before(net, lambda _: TemporalShift(num_segments))
        names = [f"{block.name}.{block.sites.first_conv}" for block in blocks if block.sites.first_conv]
        return {name: PreConv3d.from_conv(net.get_submodule(name), ClipShift()) for name in names}
    except ValueError as error:
        raise ValueError(
            f"DNR: cannot interlace channels over time: {error} Pass interlace=False to go without."
        ) from error
