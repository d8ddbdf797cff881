"""Augmenters: ARC and DNR change how the layers of a model compute."""

from videozoo.augment.arc import ARC
from videozoo.augment.arc_layers import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.augment.cross_norms import (
    CrossLayerNorm2d,
    CrossLayerNorm3d,
    CrossTemporalNorm2d,
    CrossTemporalNorm3d,
)
from videozoo.augment.dnr import DNR

AUGMENTERS: dict[str, type[ARC] | type[DNR]] = {"arc": ARC, "dnr": DNR}

__all__ = [
    "ARC",
    "AUGMENTERS",
    "DNR",
    "ArcConv2d",
    "ArcConv3d",
    "ArcLinear",
    "CrossLayerNorm2d",
    "CrossLayerNorm3d",
    "CrossTemporalNorm2d",
    "CrossTemporalNorm3d",
]
