"""Internals of temporal modules: motion vectors of MSN, temporal kernels of TANet."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.utils import flow_to_image

from videozoo.explain.capture import capture_each, find_layers, to_float
from videozoo.layers import MotionSqueeze, TemporalAdaptive
from videozoo.shapes import unfold_time

__all__ = ["Motion", "TemporalKernels", "flow_colors", "motion_vectors", "temporal_kernels"]


@dataclass(frozen=True)
class Motion:
    """The motion that a motion-squeeze module found between neighboring frames.

    Args:
        layer: its name in the model.
        vectors: float32 (B, S - 1, 2, h, w): where each position of frame s is in frame s + 1, x to the right and y
            down, in pixels of the clip.
        reach: the largest displacement that the module looks for, in the same unit.
        confidence: float32 (B, S - 1, h, w), the largest correlation, in [0, 1]: features are of unit length and not
            negative.
    """

    layer: str
    vectors: Tensor
    reach: float
    confidence: Tensor


@dataclass(frozen=True)
class TemporalKernels:
    """Kernels and scales that a temporal adaptive module predicted for a batch of clips.

    Args:
        layer: its name in the model.
        kernels: float32 (B, C, 3): weights of the frame before, the frame itself and the frame after, in (0, 1), whose
            sum is 1.
        scales: float32 (B, S, C): the local branch, in (0, 1).
    """

    layer: str
    kernels: Tensor
    scales: Tensor


def motion_vectors(model: nn.Module, clips: Tensor) -> list[Motion]:
    """Return the motion vectors of a model's motion-squeeze modules (MSN has one).

    The model is not changed.

    Args:
        model: a model of videozoo with MSN.
        clips: normalized clips.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: no such module in the model.
    """
    found = []
    for name, layer, input, _ in capture_each(model, clips, find_layers(model, MotionSqueeze, "MSN")):
        with torch.no_grad():
            motion = to_float(unfold_time(layer.motion(input), layer.num_segments)[:, :-1])  # the last is repeated
        pixels = torch.tensor([clips.shape[-1] / motion.shape[-1], clips.shape[-2] / motion.shape[-2]])
        vectors = motion[:, :, :2] * layer.reach * pixels[:, None, None]
        found.append(Motion(name, vectors, float(layer.reach * pixels[0]), motion[:, :, 2]))
    return found


def temporal_kernels(model: nn.Module, clips: Tensor) -> list[TemporalKernels]:
    """Return the kernels of a model's temporal adaptive modules, from the first to the last.

    The model is not changed.

    Args:
        model: a model of videozoo with TANet.
        clips: normalized clips.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: no such module in the model.
    """
    found = []
    for name, layer, input, _ in capture_each(model, clips, find_layers(model, TemporalAdaptive, "TANet")):
        with torch.no_grad():
            kernels, scales = layer.attend(input)
        found.append(TemporalKernels(name, to_float(kernels), to_float(scales)))
    return found


def flow_colors(vectors: Tensor) -> Tensor:
    """Motion as colors: the hue is the direction, the saturation the length over the longest vector given.

    Args:
        vectors: x to the right, y down. All of them are drawn to one scale.
    Shape:
        (..., 2, h, w), output uint8 (..., 3, h, w), white where nothing moves.
    """
    flat = vectors.reshape(-1, *vectors.shape[-3:])
    return flow_to_image(flat).reshape(*vectors.shape[:-3], 3, *vectors.shape[-2:])
