"""Causal form of a model, in which every frame sees earlier frames only."""

from collections.abc import Callable
from typing import Any

from torch import nn

from videozoo.augment import ArcConv2d, ArcLinear, CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.augment.causal import CausalArcConv2d, CausalCrossLayerNorm2d, CausalCrossTemporalNorm2d
from videozoo.layers import (
    ActionExcitation,
    AttentionLSTM,
    BigView,
    ChannelwiseMotion,
    GateShift,
    GroupedSpatialTemporal,
    MotionEnhancement,
    MotionExcitation,
    MotionSqueeze,
    PairAggregation,
    TemporalAdaptive,
    TemporalConv,
    TemporalDifference,
    TemporalInterlace,
    TemporalPyramid,
    TemporalShift,
)
from videozoo.layers.causal import Causal, CausalShift, CausalTemporalAdaptive
from videozoo.layers.time_aware import time_aware_layers
from videozoo.models.video_net import VideoNet
from videozoo.surgery import adopt, replace_modules
from videozoo.surgery.shared_copy import shared_copy
from videozoo.temporal.abm import BilinearBasicBlock, BilinearBottleneck

__all__ = ["causal_form", "make_causal", "needs_nearest"]

# What looks at frames to come and has no causal form.
_NOT_CAUSAL: dict[type[nn.Module], str] = {
    MotionSqueeze: "MSN compares each frame with the one after it",
    MotionExcitation: "TEA compares each frame with the one after it",
    MotionEnhancement: "TEINet compares each frame with the one after it",
    ActionExcitation: "ACTION-Net compares each frame with the one after it",
    TemporalInterlace: "TIN moves channels to earlier frames by offsets that it predicts from the whole clip",
    TemporalDifference: "TDN compares each frame with the ones before and after it",
    GroupedSpatialTemporal: "GST's convolutions over time look at the frame after each",
    BigView: "SmallBigNet takes maxima over the frames around each",
    BilinearBasicBlock: "ABM's convolutions over time look at the frame after each",
    BilinearBottleneck: "ABM's convolutions over time look at the frame after each",
    ChannelwiseMotion: "STM compares each frame with the one after it",
    ArcLinear: "ARC on linear layers takes a maximum over all frames of a clip",
    AttentionLSTM: "the head of AttLSTM takes the maps of a whole clip",
    PairAggregation: "bLVNet-TAM mixes each frame with the one after it",
    TemporalPyramid: "TPN takes a maximum over all frames of a clip",
    GateShift: "GSM takes half of the gated features from the frame after each",
    TemporalConv: "its convolution over time looks at the frame after each",
}
# Causal forms that no paper describes.
_EXTENSIONS: dict[type[nn.Module], str] = {
    ArcConv2d: "ARC takes a maximum over all frames of a clip; its nearest causal form takes it over the frames so far",
    TemporalAdaptive: "TANet makes one kernel of all frames of a clip; its nearest causal form makes one for every "
    "frame of those so far",
}


def causal_form(net: VideoNet, *, nearest: bool = False) -> VideoNet:
    """Return the causal form of a model, for clips.

    It shares the model's weights.

    Args:
        net: a model. It is not changed. A causal model is copied in the same way.
        nearest: use the nearest causal form of modules that have none in a paper (ARC, TANet).
    Raises:
        ValueError: there is no causal form, or ``nearest`` is needed.
    """
    new = shared_copy(net)
    if not net.spec.causal:
        make_causal(new, nearest=nearest)
        new.spec = net.spec.replace(causal=True)
        new.pretrained_cfg = {key: value for key, value in net.pretrained_cfg.items() if key != "metrics"}
    return new


def make_causal(net: VideoNet, *, nearest: bool = False) -> list[str]:
    """Replace every layer that mixes time by its causal form, in place.

    No key changes.

    Args:
        net: a model.
        nearest: as in :func:`causal_form`.
    Returns:
        the names of the changed layers.
    Raises:
        ValueError: there is no causal form, or ``nearest`` is needed.
    """
    name = net.spec.replace(causal=False).title
    if net.is_3d:
        _check_3d(net)
        return []
    if net.head_takes_frames:
        raise ValueError(
            f"{name} cannot be causal: {type(net.fc).__name__} relates a fixed number of frames; take TSN, TSM or DNR."
        )
    for module in net.modules():
        why = _NOT_CAUSAL.get(type(module))
        if why is not None:
            raise ValueError(f"{name} cannot be causal: {why}, and no form without it is known; take TSN, TSM or DNR.")
        if not nearest and _is_extended(module):
            raise ValueError(
                f"{name} cannot be causal as it is: {_EXTENSIONS[type(module)]}, which is an extension and changes "
                "what it computes. Pass nearest=True (--nearest) for it."
            )
    changed = replace_modules(
        net, lambda module, _: type(module) in _FORMS, lambda module, _: _FORMS[type(module)](module)
    )
    for _, layer in time_aware_layers(net.backbone):
        if not isinstance(layer, Causal):
            raise ValueError(
                f"{name} cannot be causal: {type(layer).__name__} sees whole clips; no other form is known."
            )
    return changed


def _check_3d(net: VideoNet) -> None:
    """Raise unless the backbone is causal by itself, as MoViNet's for streams (its attribute ``is_causal``)."""
    if not getattr(net.backbone, "is_causal", False):
        raise ValueError(
            f"{net.spec.backbone} cannot be causal: a 3-D model looks at frames to come, with convolutions or "
            "attention over time; take a MoViNet for streams (movinet_a0_stream), or TSN, TSM or DNR on a 2-D backbone."
        )
    if net.spec.augmenters:
        raise ValueError(
            f"{net.spec.backbone} cannot be causal with add-ons: ARC, DNR and TPN have no causal form in a 3-D model; "
            "leave them out, or take a 2-D backbone."
        )


def needs_nearest(net: VideoNet) -> bool:
    """Return whether a model has layers whose causal form no paper describes.

    Such a model needs ``nearest``.
    """
    return any(map(_is_extended, net.modules()))


def _is_extended(layer: nn.Module) -> bool:
    if isinstance(layer, ArcConv2d) and (layer.options.aggregation == "S" or not layer.options.attention):
        return False  # it looks at each frame by itself
    return type(layer) in _EXTENSIONS


def _shift(layer: Any) -> nn.Module:
    return CausalShift(layer.num_segments, layer.shift_div)


def _cross_temporal(layer: Any) -> nn.Module:
    if layer.backward_cell is not None:
        raise ValueError(
            "DNR cannot be causal with bidirectional=True: its second relay starts at the last group; build it with "
            "bidirectional=False."
        )
    return adopt(CausalCrossTemporalNorm2d, layer)


def _arc(layer: Any) -> nn.Module:
    if layer.weight is None:
        raise ValueError("ARC cannot be causal once it is fused; make the stream of the model that it was made from.")
    if layer.gru is not None:
        raise ValueError("ARC cannot be causal with attention_layer='gru'; build it with attention_layer='fc'.")
    return adopt(CausalArcConv2d, layer)


_FORMS: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    TemporalShift: _shift,
    CrossTemporalNorm2d: _cross_temporal,
    CrossLayerNorm2d: lambda layer: adopt(CausalCrossLayerNorm2d, layer),
    ArcConv2d: _arc,
    TemporalAdaptive: lambda layer: adopt(CausalTemporalAdaptive, layer),
}
