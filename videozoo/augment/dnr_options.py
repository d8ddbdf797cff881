"""Options of DNR."""

from dataclasses import dataclass
from typing import Literal, get_args

from videozoo.augment.cross_norms import Statistics
from videozoo.augment.dynamic_norm import NormKind
from videozoo.layers.options import check_choice, check_flag, check_unused
from videozoo.layers.relay_cell import RELAYS, Relay

__all__ = ["DnrOptions"]

Order = Literal["cl_ct", "ct_cl", "cl_bn", "ct_bn", "bn_cl", "bn_ct"]
_CHOICES = {
    "order": get_args(Order),
    "relay": RELAYS,
    "norm": (None, *get_args(NormKind)),
    "ct_statistics": get_args(Statistics),
}
_COUNTS = ("ct_group_frames", "cl_distance", "reduction", "depth")


@dataclass(frozen=True)
class DnrOptions:
    """Checked options of DNR. :class:`~videozoo.augment.DNR` documents them."""

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
