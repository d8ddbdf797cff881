"""Temporal modules, which add temporal modeling to a 2-D backbone: one dataclass per method."""

from videozoo.temporal.action import ACTION
from videozoo.temporal.gsm import GSM
from videozoo.temporal.gst import GST
from videozoo.temporal.msn import MSN
from videozoo.temporal.mvf import MVF
from videozoo.temporal.tanet import TANet
from videozoo.temporal.tdn import TDN
from videozoo.temporal.tea import TEA
from videozoo.temporal.tei import TEI
from videozoo.temporal.tin import TIN
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
    "mvf": MVF,
    "action": ACTION,
    "tin": TIN,
    "tei": TEI,
    "gsm": GSM,
}

__all__ = [
    "ACTION",
    "GSM",
    "GST",
    "MSN",
    "MVF",
    "TDN",
    "TEA",
    "TEI",
    "TEMPORAL",
    "TIN",
    "TRN",
    "TSM",
    "TSN",
    "TANet",
]
