"""The one place where clips (B, C, T, H, W) and folded images (B*S, C, H, W) are turned into each other.

Folded tensors have time fastest: row ``b * S + s`` is step ``s`` of clip ``b``.
"""

import torch
from torch import Tensor
from torch.fx import Proxy

__all__ = [
    "clip_frame_means",
    "fold_segments",
    "fold_time",
    "frame_means",
    "per_clip_frame",
    "per_frame",
    "to_clips",
    "unfold_time",
]


def fold_time(x: Tensor) -> Tensor:
    """Fold the time axis of clips into the batch.

    Shape:
        input (B, C, T, H, W), output (B*T, C, H, W), time fastest. A clip in ``channels_last_3d`` memory
        becomes a ``channels_last`` image without a copy.
    """
    return x.transpose(1, 2).flatten(0, 1)


def fold_segments(x: Tensor, frames_per_segment: int) -> Tensor:
    """Fold clips into one row per segment, whose frames lie side by side in the channels.

    Shape:
        input (B, C, S * frames_per_segment, H, W), output (B*S, frames_per_segment * C, H, W): frame 0's channels,
        then frame 1's, and so on.
    """
    return x.transpose(1, 2).unflatten(1, (-1, frames_per_segment)).flatten(0, 1).flatten(1, 2)


def unfold_time(x: Tensor, num_segments: int) -> Tensor:
    """Give folded rows their own time axis, next to the batch.

    Shape:
        input (B*S, ...), output (B, S, ...). A view.
    Raises:
        ValueError: the first dimension is not a multiple of ``num_segments``.
    """
    if not isinstance(x, Proxy) and x.shape[0] % num_segments != 0:  # what torch.fx traces has no shape yet
        raise ValueError(
            f"unfold_time: first dim is {x.shape[0]}, not a multiple of num_segments={num_segments}; "
            f"pass clips of {num_segments} frames or call model.set_num_frames(T)."
        )
    return x.unflatten(0, (-1, num_segments))


def to_clips(x: Tensor, num_segments: int) -> Tensor:
    """Turn folded feature maps back into clips.

    Shape:
        input (B*S, C, H, W), output (B, C, S, H, W).
    Raises:
        ValueError: the first dimension is not a multiple of ``num_segments``.
    """
    return unfold_time(x, num_segments).transpose(1, 2)


def frame_means(x: Tensor, num_segments: int) -> Tensor:
    """Return the mean of every frame of folded maps: (B*S, C, H, W) -> (B, S, C)."""
    # A sum, whose gradient is a view: that of a mean is a whole map, and never a channels_last one. In half precision a
    # sum may be beyond the range of what is summed.
    total = x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
    return unfold_time((total / (x.shape[2] * x.shape[3])).to(x.dtype), num_segments)


def clip_frame_means(x: Tensor) -> Tensor:
    """Return the mean of every frame of clips: (B, C, T, H, W) -> (B, T, C)."""
    return x.mean((3, 4)).transpose(1, 2)


def per_frame(v: Tensor, num_segments: int) -> Tensor:
    """Return a row per frame, or one per clip, in the shape of folded maps: (B, S or 1, C) -> (B*S, C, 1, 1)."""
    return v.expand(-1, num_segments, -1).flatten(0, 1)[:, :, None, None]


def per_clip_frame(v: Tensor) -> Tensor:
    """Return a row per frame, or one per clip, in the shape of clips: (B, T or 1, C) -> (B, C, T or 1, 1, 1)."""
    return v.transpose(1, 2)[..., None, None]
