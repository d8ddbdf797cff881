"""Checks of clips and of clip lengths against a model."""

import math
from typing import Any

from torch import Tensor, nn
from torch.fx import Proxy

from videozoo.layers.time_aware import check_num_segments
from videozoo.models.spec import ModelSpec
from videozoo.nets import is_3d

__all__ = ["check_clips", "check_num_frames"]


def check_clips(net: Any, x: Tensor) -> None:
    """Raise if ``x`` is not a batch of clips with the model's channels and frames.

    Raises:
        ValueError: integers, or another number of dimensions, channels or frames.
    """
    if isinstance(x, Proxy):  # of a tracer (torch.fx, torchvision's create_feature_extractor): it has no shape yet
        return
    name = type(net).__name__
    if x.ndim != 5:
        raise ValueError(
            f"{name}: input has shape {tuple(x.shape)}; need clips (B, C, T, H, W). "
            "For one clip (C, T, H, W) pass x.unsqueeze(0)."
        )
    if x.shape[1] != net.in_chans:
        raise ValueError(
            f"{name}: input (B, C, T, H, W) has {x.shape[1]} channels, the model takes {net.in_chans}; "
            "for (B, T, C, H, W) pass x.transpose(1, 2), for other channels build it with in_chans=."
        )
    if not x.is_floating_point():
        raise ValueError(
            f"{name}: input is {x.dtype}, the model takes floating-point numbers; scale and normalize frames first, "
            "as the transforms of videozoo.data do: (x / 255 - mean) / std, with mean and std of model.pretrained_cfg."
        )
    if x.shape[2] != net.num_frames:
        raise ValueError(
            f"{name}: input has {x.shape[2]} frames, the model takes {net.num_frames}; "
            f"sample {net.num_frames} frames or call model.set_num_frames({x.shape[2]})."
        )


def check_num_frames(backbone: Any, spec: ModelSpec, num_frames: int, head: nn.Module | None = None) -> None:
    """Raise if a model cannot take clips of that length.

    Raises:
        ValueError: less than one frame, no whole number of segments, or weights made for another number of segments.
    """
    per_segment = spec.frames_per_segment
    multiple = math.lcm(getattr(backbone, "frames_multiple", 1), per_segment)
    least: int = getattr(backbone, "least_frames", 1)
    if num_frames < least or num_frames % multiple:
        need = f"need a positive multiple of {multiple}" if multiple > 1 else f"need {least} or more"
        if 1 < multiple < least:
            need += f", {least} or more"
        part = "" if is_3d(backbone) else f" with {type(spec.temporal).__name__}"
        raise ValueError(f"{spec.backbone}{part}: num_frames is {num_frames}; {need}.")
    num_segments = num_frames // per_segment
    check_num_segments(backbone, num_segments, num_frames)
    if head is not None:
        check_num_segments(head, num_segments, num_frames, prefix="fc")
