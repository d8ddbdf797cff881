"""States inside an ARC layer: evolving input states and backward attention, recomputed step by step."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.augment import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.augment.arc_layer import ArcLayer
from videozoo.explain.capture import capture_each, find_layers, pick_layers, to_float

__all__ = ["ARC_LAYERS", "ArcStates", "ArcSteps", "arc_layers", "arc_states", "default_arc_layer", "retrace_arc"]

ARC_LAYERS = (ArcConv2d, ArcConv3d, ArcLinear)


@dataclass(frozen=True)
class ArcSteps:
    """Every step of an ARC layer, with all channels.

    Tensors have an axis of time, whatever the layer's layout.

    Args:
        states: Z_1 to Z_n, each (B, C_in, T, H, W). Z_1 is the layer's input X, the others are not negative
            where X is not.
        attention: AM_2 to AM_n (eq. 7), each (B, C_in, T or 1, H or 1, W or 1) at the size of Y. Empty without it.
        output: Y, in the layer's own layout.
    """

    states: list[Tensor]
    attention: list[Tensor]
    output: Tensor


@dataclass(frozen=True)
class ArcStates:
    """States of an ARC layer for some clips.

    Args:
        layer: its name in the model.
        states: float32 (B, n, T, H, W), Z_1 to Z_n averaged over channels (Fig. 6). Not negative in layers
            behind a ReLU.
        attention: float32 (B, n - 1, T, C_in), AM_2 to AM_n averaged over positions (Fig. 3), in units of the layer's
            input, to which they are added (before twice their sigmoid is taken where the interaction is
            multiplicative). None in a layer without attention.
    """

    layer: str
    states: Tensor
    attention: Tensor | None


def arc_layers(model: nn.Module) -> list[str]:
    """Return the names of a model's ARC layers, in order.

    Raises:
        ValueError: there is none.
    """
    return find_layers(model, ARC_LAYERS, "ARC")


def default_arc_layer(model: nn.Module) -> str:
    """Return the layer that the paper shows: the second convolution of the second block of res3, or else the second of
    all.

    Raises:
        ValueError: the model has no ARC layer.
    """
    names = arc_layers(model)
    shown = "backbone.layer2.1.conv2"
    return shown if shown in names else names[min(1, len(names) - 1)]


def arc_states(model: nn.Module, clips: Tensor, layers: str | list[str] | None = None) -> list[ArcStates]:
    """Return the evolving states and the backward attention of ARC layers.

    They are recomputed from the layer's parameters and the input that it got. The model is not changed.

    Args:
        model: a model of videozoo with ARC.
        clips: normalized clips.
        layers: names of layers, ``backbone.`` left out or not. None: all.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: no ARC in the model, or no such layer.
    """
    found = []
    for name, layer, input, _ in capture_each(model, clips, pick_layers(arc_layers(model), layers)):
        with torch.no_grad():
            steps = retrace_arc(layer, input)
        frames = steps.states[0].shape[2]
        means = [to_float(a.flatten(3).mean(3).transpose(1, 2).expand(-1, frames, -1)) for a in steps.attention]
        states = torch.stack([to_float(state.mean(1)) for state in steps.states], 1)
        found.append(ArcStates(name, states, torch.stack(means, 1) if means else None))
    return found


def retrace_arc(layer: Any, input: Tensor) -> ArcSteps:
    """Compute an ARC layer step by step, keeping what the fast form of the layer does not.

    Equations 2 to 7 of the paper.

    Args:
        layer: an ``ArcConv2d``, ``ArcConv3d`` or ``ArcLinear``.
        input: what the layer takes, in its own layout.
    Raises:
        ValueError: the layer is that of a fused model.
    """
    if layer.weight is None:
        raise ValueError("explain: a fused model has no states of ARC to show; explain the one it was made from.")
    states: list[Tensor] = []
    attention: list[Tensor] = []
    watched = copy.copy(layer)  # on the same parameters; what is put in place of its methods is not the layer's

    def part(i: int, state: Tensor) -> Tensor:
        states.append(_to_clips(layer, layer._view(state)))
        return layer._part(i, state)

    def attend(y: Tensor, i: int, before: Tensor | None) -> Tensor:
        found = layer._attend(y, i, before)
        attention.append(_to_clips(layer, found))
        return found

    watched._part, watched._attend = part, attend
    return ArcSteps(states, attention, ArcLayer._refined(watched, layer.pre(input)))


def _to_clips(layer: Any, view: Tensor) -> Tensor:
    """Return a layer's view, which has an axis of time, as (B, C, T, ...)."""
    if isinstance(layer, ArcConv3d):
        return view
    return view.movedim(2 if isinstance(layer, ArcConv2d) else -1, 1)
