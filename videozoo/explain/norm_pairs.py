"""The scales and shifts that DNR predicts, over groups of frames and over depth."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from videozoo.augment import CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.explain.capture import capture_each, find_layers, pick_layers, to_float
from videozoo.layers.relay_cell import RelayState
from videozoo.surgery import new_state

__all__ = ["NORM_LAYERS", "NormPairs", "norm_layers", "norm_pairs"]

NORM_LAYERS = (CrossTemporalNorm2d, CrossLayerNorm2d)  # the 3-D norms are subclasses


@dataclass(frozen=True)
class NormPairs:
    """Scale and shift that a dynamic norm predicted for a batch of clips.

    Args:
        layer: its name in the model.
        relay: ``"time"``: one pair for each group of frames, the relay runs over time (cross-temporal). ``"depth"``:
            one pair for the clip, the relay runs over blocks (cross-layer). ``"none"``: one pair for the clip, without
            a relay (a cross-layer place that has no neighbor of its width).
        group_frames: frames in a group. None: all of the clip.
        gamma, beta: float32 (B, G, C), what features are multiplied by and what is added, after standardization. In the
            paper's form gamma = h is in (0, 1), and beta = c has no bounds.
    """

    layer: str
    relay: Literal["time", "depth", "none"]
    group_frames: int | None
    gamma: Tensor
    beta: Tensor


def norm_layers(model: nn.Module) -> list[str]:
    """Return the names of a model's dynamic norms, in order.

    Raises:
        ValueError: there is none.
    """
    return find_layers(model, NORM_LAYERS, "DNR")


def norm_pairs(model: nn.Module, clips: Tensor, layers: str | list[str] | None = None) -> list[NormPairs]:
    """Return the gammas and betas of DNR's norms, from the first to the last.

    Those of cross-temporal norms are recomputed from their input, those of cross-layer norms are the states that were
    relayed. The model is not changed.

    Args:
        model: a model of videozoo with DNR.
        clips: normalized clips.
        layers: names of norms, ``backbone.`` left out or not. None: all.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: no DNR in the model, or no such norm.
    """
    found = []
    names = pick_layers(norm_layers(model), layers)
    for name, norm, input, output in capture_each(model, clips, names, _pair_or_output):
        with torch.no_grad():
            if isinstance(norm, CrossTemporalNorm2d):
                state = norm.relay(norm.pool(input))
                relay: Literal["time", "depth", "none"] = "none" if norm.group_frames is None else "time"
            else:
                state = RelayState(*(v.unsqueeze(1) for v in output))
                relay = "depth"
            gamma, beta = norm.pair(state)
        frames = norm.group_frames if relay == "time" else None
        found.append(NormPairs(name, relay, frames, to_float(gamma), to_float(beta)))
    return found


def _pair_or_output(norm: nn.Module, output: Any) -> Any:
    """Return the part of a norm's result to keep: a cross-layer norm's state, a cross-temporal norm's output."""
    return tuple(new_state(norm.run)) if isinstance(norm, CrossLayerNorm2d) else output
