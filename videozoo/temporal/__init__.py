"""Temporal modules, which add temporal modeling to a 2-D backbone: one dataclass per method."""

from videozoo.temporal.abm import ABM
from videozoo.temporal.action import ACTION
from videozoo.temporal.att_lstm import AttLSTM
from videozoo.temporal.blvnet import BLVNetTAM
from videozoo.temporal.gsm import GSM
from videozoo.temporal.gst import GST
from videozoo.temporal.msn import MSN
from videozoo.temporal.mvf import MVF
from videozoo.temporal.smallbig import SmallBig
from videozoo.temporal.stm import STM
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
    "smallbig": SmallBig,
    "abm": ABM,
    "stm": STM,
    "mvf": MVF,
    "action": ACTION,
    "tin": TIN,
    "tei": TEI,
    "gsm": GSM,
    "blvnettam": BLVNetTAM,
    "attlstm": AttLSTM,
}

__all__ = [
    "ABM",
    "ACTION",
    "GSM",
    "GST",
    "MSN",
    "MVF",
    "STM",
    "TDN",
    "TEA",
    "TEI",
    "TEMPORAL",
    "TIN",
    "TRN",
    "TSM",
    "TSN",
    "AttLSTM",
    "BLVNetTAM",
    "SmallBig",
    "TANet",
]
