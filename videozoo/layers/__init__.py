"""Layers and pure functions that depend only on torch and ``videozoo.shapes``."""

from videozoo.layers.action_excitation import ActionExcitation
from videozoo.layers.attention_lstm import AttentionLSTM
from videozoo.layers.gate_shift import GateShift
from videozoo.layers.grouped_spatial_temporal import GroupedSpatialTemporal
from videozoo.layers.motion_enhancement import MotionEnhancement
from videozoo.layers.motion_squeeze import MotionSqueeze
from videozoo.layers.multi_view_fusion import MultiViewFusion
from videozoo.layers.relay_cell import RelayCell
from videozoo.layers.small_big import BigView, GlobalView
from videozoo.layers.temporal_adaptive import TemporalAdaptive
from videozoo.layers.temporal_aggregation import PairAggregation, TemporalAggregation
from videozoo.layers.temporal_conv import TemporalConv
from videozoo.layers.temporal_difference import ChannelwiseMotion, MotionExcitation, TemporalDifference
from videozoo.layers.temporal_interlace import TemporalInterlace
from videozoo.layers.temporal_pyramid import AuxiliaryHead, TemporalPyramid
from videozoo.layers.temporal_relation import TemporalRelation
from videozoo.layers.temporal_shift import TemporalShift

__all__ = [
    "ActionExcitation",
    "AttentionLSTM",
    "AuxiliaryHead",
    "BigView",
    "ChannelwiseMotion",
    "GateShift",
    "GlobalView",
    "GroupedSpatialTemporal",
    "MotionEnhancement",
    "MotionExcitation",
    "MotionSqueeze",
    "MultiViewFusion",
    "PairAggregation",
    "RelayCell",
    "TemporalAdaptive",
    "TemporalAggregation",
    "TemporalConv",
    "TemporalDifference",
    "TemporalInterlace",
    "TemporalPyramid",
    "TemporalRelation",
    "TemporalShift",
]
