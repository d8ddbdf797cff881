"""What happens inside an ARC layer: its evolving input states and its backward attention, recomputed step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment import ArcConv2d, ArcConv3d, ArcLinear
from videozoo.explain.capture import find_layers, look_at_each, pick_layers, to_float
from videozoo.shapes import fold_time, to_clips

__all__ = ["ARC_LAYERS", "ArcStates", "ArcSteps", "arc_layers", "arc_states", "default_arc_layer", "retrace_arc"]

ARC_LAYERS = (ArcConv2d, ArcConv3d, ArcLinear)


@dataclass(frozen=True)
class ArcSteps:
    """Every step of an ARC layer, with all channels; tensors have an axis of time, whatever the layer's layout.

    Args:
        states: Z_1 to Z_n, each (B, C_in, T, H, W); Z_1 is the layer's input X, the others are not negative
            where X is not.
        attention: AM_2 to AM_n (eq. 7), each (B, C_in, T or 1, H or 1, W or 1) at the size of Y; empty without it.
        output: Y, in the layer's own layout.
    """

    states: list[Tensor]
    attention: list[Tensor]
    output: Tensor


@dataclass(frozen=True)
class ArcStates:
    """What an ARC layer showed for some clips.

    Args:
        layer: its name in the network.
        states: float32 (B, n, T, H, W), Z_1 to Z_n averaged over channels (Fig. 6); not negative in layers
            behind a ReLU.
        attention: float32 (B, n - 1, T, C_in), AM_2 to AM_n averaged over positions (Fig. 3), in units of the layer's
            input, to which they are added (before twice their sigmoid is taken where the interaction is
            multiplicative); None in a layer without attention.
    """

    layer: str
    states: Tensor
    attention: Tensor | None


def arc_layers(model: nn.Module) -> list[str]:
    """Names of a network's ARC layers, in order.

    Raises:
        ValueError: there is none.
    """
    return find_layers(model, ARC_LAYERS, "ARC")


def default_arc_layer(model: nn.Module) -> str:
    """The layer that the paper shows: the second convolution of the second block of res3, or else the second of all.

    Raises:
        ValueError: the network has no ARC layer.
    """
    names = arc_layers(model)
    shown = "backbone.layer2.1.conv2"
    return shown if shown in names else names[min(1, len(names) - 1)]


def arc_states(model: nn.Module, clips: Tensor, layers: str | list[str] | None = None) -> list[ArcStates]:
    """The evolving states and the backward attention of ARC layers.

    They are recomputed from the layer's parameters and the input that it got; the network is not changed.

    Args:
        model: a network of videozoo with ARC.
        clips: normalised clips.
        layers: names of layers, ``backbone.`` left out or not; None: all.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: no ARC in the network, or no such layer.
    """
    found = []
    for name, layer, input, _ in look_at_each(model, clips, pick_layers(arc_layers(model), layers)):
        with torch.no_grad():
            steps = retrace_arc(layer, input)
        frames = steps.states[0].shape[2]
        means = [to_float(a.flatten(3).mean(3).transpose(1, 2).expand(-1, frames, -1)) for a in steps.attention]
        states = torch.stack([to_float(state.mean(1)) for state in steps.states], 1)
        found.append(ArcStates(name, states, torch.stack(means, 1) if means else None))
    return found


def retrace_arc(layer: Any, input: Tensor) -> ArcSteps:
    """Compute an ARC layer plainly, part by part (eq. 2 to 7), keeping what the fast layer does not.

    Args:
        layer: an ``ArcConv2d``, ``ArcConv3d`` or ``ArcLinear``.
        input: what the layer takes, in its own layout.
    Raises:
        ValueError: the layer is that of a fused network.
    """
    if layer.weight is None:
        raise ValueError("explain: a fused network has no states of ARC to show; explain the one it was made from.")
    apply, to_time, from_time = _layout(layer)
    options = layer.options
    x = to_time(layer.pre(input))
    weights = layer.weight.split(layer.sizes)
    biases = [None] * len(weights) if layer.bias is None else list(layer.bias.split(layer.sizes))
    base = x if layer.embed is None else x + _map(layer.embed, x)
    states, attentions, parts = [x], [], []
    fused: Tensor | None = None
    attention: Tensor | None = None
    start = 0
    for step, size in enumerate(layer.sizes):
        y = to_time(apply(from_time(states[-1]), weights[step], biases[step]))
        parts.append(y)
        if step == len(layer.sizes) - 1:
            break
        columns = slice(start, start + size)
        start += size
        if layer.fuse is not None:
            fused = _sum(fused, _map(layer.fuse[:, columns], y))
        if options.attention:
            attention = _attend(layer, columns, y, attention)
            attentions.append(attention)
        states.append(_refine(base, x.clamp_max(0), fused, attention, options.interaction))
    return ArcSteps(states, attentions, from_time(torch.cat(parts, 1)))


Apply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Turn = Callable[[Tensor], Tensor]


def _layout(layer: Any) -> tuple[Apply, Turn, Turn]:
    """What the layer computes on its own layout, and how that becomes (B, C, T, ...) and back."""
    if isinstance(layer, ArcConv3d):
        return layer._conv_forward, lambda x: x, lambda x: x
    count = layer.num_segments
    if isinstance(layer, ArcConv2d):
        return layer._conv_forward, lambda x: to_clips(x, count), fold_time
    return F.linear, lambda x: to_clips(x.movedim(-1, 1), count), lambda x: fold_time(x).movedim(1, -1)


def _map(matrix: Tensor, y: Tensor) -> Tensor:
    """A 1x1 map of (B, C, ...)."""
    return torch.einsum("oc,bc...->bo...", matrix.flatten(1), y)


def _pools(y: Tensor, aggregation: str) -> list[Tensor]:
    space = tuple(range(3, y.ndim))
    over_space = y.amax(space, keepdim=True) if space else y
    over_time = y.amax(2, keepdim=True)
    over_both = over_space.amax(2, keepdim=True)
    return {"S+T": [over_space, over_time], "S": [over_space], "T": [over_time], "ST": [over_both]}[aggregation]


def _attend(layer: Any, columns: slice, y: Tensor, before: Tensor | None) -> Tensor:
    pooled = _pools(y, layer.options.aggregation)
    if layer.gru is None:
        matrix = layer.attend[:, columns]
        return _sum(before, sum((_map(matrix, part) for part in pooled[1:]), _map(matrix, pooled[0])))
    total = sum(pooled[1:], pooled[0])
    hidden = None if before is None else before.movedim(1, -1)
    return _gru_step(layer.gru, total.movedim(1, -1), hidden).movedim(-1, 1)


def _gru_step(gru: Any, x: Tensor, hidden: Tensor | None) -> Tensor:
    """A GRU cell on channels that come last, from the weights of its two maps."""

    def mapped(part: Any, value: Tensor) -> Tensor:
        return F.linear(value, part.weight.flatten(1), part.bias)

    if hidden is None:
        hidden = x.new_zeros(*x.shape[:-1], gru.hidden.weight.shape[1])
    reset_x, update_x, new_x = mapped(gru.input, x).chunk(3, -1)
    reset_h, update_h, new_h = mapped(gru.hidden, hidden).chunk(3, -1)
    update = torch.sigmoid(update_x + update_h)
    candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    return (1 - update) * candidate + update * hidden


def _refine(base: Tensor, floor: Tensor, fused: Tensor | None, attention: Tensor | None, interaction: str) -> Tensor:
    """Z_i (eq. 5)."""
    state = base if fused is None else base + _grow(fused, base)
    if attention is not None:
        grown = _grow(attention, base)
        state = state + grown if interaction == "additive" else state * (2 * torch.sigmoid(grown))
    return torch.maximum(state, floor)


def _grow(y: Tensor, like: Tensor) -> Tensor:
    """Nearest upsampling to the size of ``like``; a dimension of one position is left to broadcasting."""
    wanted = [1 if have == 1 else want for have, want in zip(y.shape[2:], like.shape[2:], strict=True)]
    return y if list(y.shape[2:]) == wanted else F.interpolate(y, size=wanted, mode="nearest")


def _sum(total: Tensor | None, more: Tensor) -> Tensor:
    return more if total is None else total + more
