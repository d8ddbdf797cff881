"""Temporal modules, which add temporal modeling to a 2-D backbone: one dataclass per method."""

from videozoo.temporal.gst import GST
from videozoo.temporal.msn import MSN
from videozoo.temporal.tanet import TANet
from videozoo.temporal.tdn import TDN
from videozoo.temporal.tea import TEA
from videozoo.temporal.trn import TRN
from videozoo.temporal.tsm import TSM
from videozoo.temporal.tsn import TSN

TEMPORAL: dict[str, type] = {
    "tsn": TSN,
    "tsm": TSM,
    "msn": MSN,
    "tanet": TANet,
    "tdn": TDN,
    "trn": TRN,
    "tea": TEA,
    "gst": GST,
}

__all__ = ["GST", "MSN", "TDN", "TEA", "TEMPORAL", "TRN", "TSM", "TSN", "TANet"]
