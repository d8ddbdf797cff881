"""MotionSqueeze model (MSN)."""

from dataclasses import dataclass

from torch import nn

from videozoo.layers import MotionSqueeze, TemporalShift
from videozoo.layers.options import check_count
from videozoo.surgery import plan_append, plan_before, write_plan

__all__ = ["MSN"]


@dataclass(frozen=True)
class MSN:
    """MSN: temporal shift in every block, and the motion between frames added after one stage.

    Kwon et al., 2020 (arXiv:2007.09933). Unlike TSM's code, every block is shifted, however deep the backbone is.

    Args:
        shift_div: 1 / the fraction of channels that are moved each way.
        stage: the stage after which the motion is added (the paper: 2, that is res3).
        reach: largest displacement, in pixels of that stage's feature map, at least 1.
    Raises:
        ValueError: an option is not a whole number, or is too small.
    Example:
        >>> from videozoo import MSN, compose
        >>> compose("resnet18", MSN(reach=5), num_classes=10).spec.title
        'MSN on resnet18'
    """

    shift_div: int = 8
    stage: int = 2
    reach: int = 7

    def __post_init__(self) -> None:
        TemporalShift(1, self.shift_div)  # raises for a wrong shift_div
        for option in ("stage", "reach"):
            check_count("MSN", option, getattr(self, option))

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Insert the shifts and the motion module in place and return their names.

        Raises:
            ValueError: no known block, or no such stage.
        """
        shifts = plan_before(net, lambda _: TemporalShift(num_segments, self.shift_div))
        motion = plan_append(net, self.stage, "motion", lambda c: MotionSqueeze(c, num_segments, self.reach))
        return write_plan(net, {**shifts, **motion})
