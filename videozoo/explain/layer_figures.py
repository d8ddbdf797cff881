"""The pictures of layers that a model has to show, each drawn by one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videozoo.explain.arc_states import ARC_LAYERS, arc_layers, arc_states, default_arc_layer
from videozoo.explain.capture import find_layers, layer_names, pick_layers
from videozoo.explain.distributions import plot_attention, plot_norms
from videozoo.explain.norm_pairs import NORM_LAYERS, norm_pairs
from videozoo.explain.plots import plot_kernels, plot_motion, plot_states
from videozoo.explain.rollout import check_rollout
from videozoo.explain.temporal_parts import motion_vectors, temporal_kernels
from videozoo.layers import MotionSqueeze, TemporalAdaptive

__all__ = ["Shown", "check_kinds", "draw_kind", "kinds_of"]


@dataclass(frozen=True)
class Shown:
    """A model and one clip, as input of the figures.

    Args:
        model: a model of videozoo.
        video: float32 (1, 3, T, H, W), normalized.
        frames: uint8 (N, H, W, 3), the frame of each of the model's time steps.
        frame_names: N texts.
        title: of every picture.
        layer: the ARC layer whose states are drawn. None: the paper's.
    """

    model: nn.Module
    video: Tensor
    frames: Tensor
    frame_names: Sequence[str]
    title: str = ""
    layer: str | None = None


Draw = Callable[[Path, Shown], None]


def kinds_of(model: nn.Module) -> tuple[str, ...]:
    """Return the figures that can be drawn of a model: ``cam`` always, then those of its layers."""
    return ("cam", *(kind for kind, (classes, _, _) in _KINDS.items() if layer_names(model, classes)))


def check_kinds(model: nn.Module, kinds: Sequence[str], layer: str | None = None) -> None:
    """Raise ValueError where a model has nothing of a kind to show, or no ARC layer of that name."""
    for kind in kinds:
        if kind in _KINDS:  # maps of a class are of every model
            classes, method, _ = _KINDS[kind]
            find_layers(model, classes, method)
    if "rollout" in kinds:
        check_rollout(model)
    if layer is not None and "states" not in kinds:
        raise ValueError(f"explain: {layer!r} names an ARC layer whose states to draw, but no states are drawn here.")
    if layer is not None:
        pick_layers(arc_layers(model), layer)


def draw_kind(kind: str, path: Path, shown: Shown) -> None:
    """Draw ``states``, ``attention``, ``norms``, ``motion`` or ``kernels``.

    Raises:
        ValueError: the model has no such layer, or no layer of the given name.
        CheckpointError: the disk refused.
    """
    _KINDS[kind][2](path, shown)


def _draw_states(path: Path, shown: Shown) -> None:
    (trace,) = arc_states(shown.model, shown.video, shown.layer or default_arc_layer(shown.model))
    steps, count = trace.states.shape[2], len(shown.frames)
    places = [step * count // steps for step in range(steps)]  # a 3-D model may stride over time
    names = [shown.frame_names[place] for place in places]
    plot_states(path, trace, shown.frames[places], names, shown.title)


def _draw_motion(path: Path, shown: Shown) -> None:
    plot_motion(path, motion_vectors(shown.model, shown.video)[0], shown.frames, shown.frame_names, shown.title)


def _drawn_by(compute: Callable[[nn.Module, Tensor], Any], plot: Callable[[Path, Any, str], None]) -> Draw:
    return lambda path, shown: plot(path, compute(shown.model, shown.video), shown.title)


# The classes of the layers, the method that they belong to, and what draws them.
_KINDS: dict[str, tuple[tuple[type[nn.Module], ...], str, Draw]] = {
    "states": (ARC_LAYERS, "ARC", _draw_states),
    "attention": (ARC_LAYERS, "ARC", _drawn_by(arc_states, plot_attention)),
    "norms": (NORM_LAYERS, "DNR", _drawn_by(norm_pairs, plot_norms)),
    "motion": ((MotionSqueeze,), "MSN", _draw_motion),
    "kernels": ((TemporalAdaptive,), "TANet", _drawn_by(temporal_kernels, plot_kernels)),
}
