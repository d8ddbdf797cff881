"""Dynamic normalization and relay (DNR): norms whose scale and shift are predicted, relayed over time and depth.

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021.
"""

import warnings
from dataclasses import dataclass

from torch import nn

from videozoo.augment.dnr_blocks import check_fraction, find_pairs, mixes_time, norms_at, takes_clips
from videozoo.augment.dnr_options import DnrOptions
from videozoo.augment.dnr_plan import NormPlan
from videozoo.layers import TemporalShift
from videozoo.layers.temporal_shift import ClipShift
from videozoo.surgery import Block, RelayStage, plan_before, take_over_checkpointing, write_plan
from videozoo.surgery.pre_conv import PreConv3d
from videozoo.surgery.replace import Plan

__all__ = ["DNR"]


@dataclass(frozen=True)
class DNR(DnrOptions):
    """DNR: norms whose scale and shift are predicted from the clip, relayed over time (CT) and over depth (CL).

    In every residual block the first norm becomes cross-layer and the second cross-temporal. A third norm and the norms
    of the shortcut and of the stem stay. That is section 4.2 and Table 1a. For basic blocks, section 3.3 has the two in
    the other order (``order="ct_cl"``). Blocks of one stage whose first norms have the same number of channels share
    one cross-layer cell, which starts from zero. A block without such a neighbor predicts from its own clip alone.

    In 3-D models the groups are cut along the T of the layer's own input, which strides may have shortened. The last
    group may be shorter, down to a single step. A layer with at most ``ct_group_frames`` steps left has one group and
    relays nothing, so take a smaller ``ct_group_frames`` for short clips. First and second norm are

    * R(2+1)D: those after the whole first and second (2+1)D convolution. The norms between the halves stay.
    * SlowFast: those of each block, as in 2-D. A stage of a pathway is a stage of its own, with its own relays. The
      lateral norms stay.
    * Res2Net: the first norm, and all norms of the scales. The last one stays.
    * BN-Inception (2-D), which has no residual blocks: those of the first two convolutions in each branch that has two
      or more (the 3x3 and the double 3x3 branch). The relay over depth runs from module to module along the same
      branch.

    Args:
        order: what the first and the second norm of a block become. ``bn`` leaves one as it is (Table 1a).
        ct_group_frames: frames in a group, the relay distance over time (Table 1b).
        cl_distance: blocks from one state to the next, the relay distance over depth (Table 1b).
        reduction, depth: of the bottlenecks in the relay (Table 1c).
        relay: kind of relay (Table 1d).
        interlace: shift channels over time before each block (section 3.3, which gives no fraction): TSM's 1/8 each
            way, on the residual branch, not on the shortcut, and not in inverted residuals without a shortcut. None:
            only in a backbone of known blocks that does not mix time already.
        norm: standardize by ``"bn"`` or ``"gn"`` (Table 3). None keeps what the backbone has.
        bidirectional: add a second cross-temporal relay from the last group to the first (the supplement).
        keep_affine: start from the trained scale and shift instead of dropping them. An extension, not in the paper.
        linear_bias: a bias in every linear map of the relay, as in the authors' code, instead of one for the gates.
        ct_statistics: statistics of a cross-temporal batch norm in training: ``"batch"``, all frames of the batch, "as
            usual" as the paper says, or ``"group"``, every group by its own frames of all clips, as in the authors'
            code. Evaluation is the same.
    Raises:
        ValueError: an option has a value that is not listed, a count is not a whole number of at least 1, or an option
            has no effect with the others.
    Example:
        >>> from videozoo import DNR, TSN, compose
        >>> model = compose("resnet18", TSN(), [DNR(ct_group_frames=4)], num_classes=10)
        >>> model.spec.title
        'TSN+DNR on resnet18'
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the norms of ``net`` in place.

        Everything is found and made first, so after an error ``net`` is as it was.

        Known blocks are found by class. In another model, every module that itself holds two norms or more and a
        spatial convolution is a block. Its first two norms in order of registration are changed, and norms in a list
        count as one. States are relayed over depth between blocks that are neighbors in an ``nn.Sequential``, which
        becomes a :class:`~videozoo.surgery.RelayStage`. Blocks keep their class, mode and hooks.

        Warns where the model cannot know the order of frames: no channels are interlaced, nothing else mixes time, and
        the clip is one group. Also warns where ``interlace=None`` finds blocks that it does not know.

        Args:
            net: any model on folded frames (B*S, C, H, W), or a 3-D one on clips.
            num_segments: time steps S.
        Returns:
            the names of the norms that were changed, and of the convolutions before which channels are interlaced.
        Raises:
            ValueError: no block with two norms, too few of the norms in blocks, a norm of an unknown class or with
                hooks, or channels that cannot be interlaced.
        """
        blocks, is_known = find_pairs(net)
        if self.interlace and not is_known:
            raise ValueError(
                f"DNR: interlace=True, but {type(net).__name__} has no block with a known first convolution; "
                "pass interlace=None or False, or add the block's class to BLOCK_SITES."
            )
        mixes = mixes_time(net)
        interlaces = is_known and (not mixes if self.interlace is None else self.interlace)
        check_fraction(
            net, sum(len(norms_at(block, site)) for block in blocks for site in ("first_norm", "second_norm"))
        )
        plan = NormPlan(net, num_segments, self)
        plan.fill(blocks)
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


def _plan_interlacing(net: nn.Module, blocks: list[Block], num_segments: int) -> Plan:
    """Return the convolutions that shift channels over time before they compute, one per block."""
    try:
        if not any(takes_clips(net, norms_at(block, "first_norm")[0]) for block in blocks):
            return plan_before(net, lambda _: TemporalShift(num_segments))
        names = [f"{block.name}.{block.sites.first_conv}" for block in blocks if block.sites.first_conv]
        return {name: PreConv3d.from_conv(net.get_submodule(name), ClipShift()) for name in names}
    except ValueError as error:
        raise ValueError(
            f"DNR: cannot interlace channels over time: {error} Pass interlace=False to go without."
        ) from error
