"""Augmenters: ARC and DNR change how the layers of a model compute, TPN adds a neck."""

from videozoo.augment.arc import ARC
from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.augment.cross_norms import (
    CrossLayerNorm2d,
    CrossLayerNorm3d,
    CrossTemporalNorm2d,
    CrossTemporalNorm3d,
)
from videozoo.augment.dnr import DNR
from videozoo.augment.tpn import TPN

AUGMENTERS: dict[str, type[ARC] | type[DNR] | type[TPN]] = {"arc": ARC, "dnr": DNR, "tpn": TPN}

__all__ = [
    "ARC",
    "AUGMENTERS",
    "DNR",
    "TPN",
    "ArcConv2d",
    "ArcConv3d",
    "ArcLinear",
    "CrossLayerNorm2d",
    "CrossLayerNorm3d",
    "CrossTemporalNorm2d",
    "CrossTemporalNorm3d",
]
