"""Temporal shift module (TSM)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import TemporalShift
from videozoo.layers.options import check_flag
from videozoo.surgery import plan_before, write_plan
from videozoo.surgery.replace import Plan, Site
from videozoo.temporal.deep_stage import has_deep_stage

__all__ = ["TSM"]

_SITES: tuple[Site, ...] = ("first_conv", "shortcut")


@dataclass(frozen=True)
class TSM:
    """TSM: temporal shift of some channels on the residual branch of every block.

    Lin et al., 2019 (arXiv:1811.08383). As in the authors' code, a backbone with a stage of 23 blocks or more
    (ResNet-101) is shifted in blocks 0, 2, 4, ... of every stage, and inverted residuals (MobileNetV2) only where they
    have a shortcut.

    Args:
        shift_div: 1 / the fraction of channels that are moved each way.
        shift_shortcut: shift before the convolution of a shortcut too, in the blocks that have one, as in the code of
            TPN's authors.
    Raises:
        ValueError: ``shift_div`` is not a whole number, or is too small, or ``shift_shortcut`` is not a bool.
    Example:
        >>> from videozoo import TSM, compose
        >>> model = compose("resnet18", TSM(shift_div=8), num_classes=10, num_frames=16)
        >>> model.sites["tsm"][:2]
        ['layer1.0.conv1', 'layer1.1.conv1']
    """

    shift_div: int = 8
    shift_shortcut: bool = False

    def __post_init__(self) -> None:
        TemporalShift(1, self.shift_div)  # raises for a wrong shift_div now, not when the model is built
        check_flag("TSM", "shift_shortcut", self.shift_shortcut)

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the shifts in place.

        Args:
            net: a 2-D backbone on folded frames (B*S, C, H, W) whose blocks are listed in ``BLOCK_SITES``.
            num_segments: time steps S.
        Returns:
            the names of the convolutions whose input is now shifted.
        Raises:
            ValueError: no known block, or none with a convolution in its shortcut.
        """
        deep, plan = has_deep_stage(net), Plan()
        for site in _SITES[: 1 + self.shift_shortcut]:
            plan |= plan_before(net, lambda _: TemporalShift(num_segments, self.shift_div), site=site, every_other=deep)
        return write_plan(net, plan)
