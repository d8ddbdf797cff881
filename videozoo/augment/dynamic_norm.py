"""Base classes of DNR's norms: normalization with predicted scale and shift, on folded frames and on clips.

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021, section 3.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment.norm_types import ShownAsBatchNorm, Synchronized, channels_of, check_norm
from videozoo.augment.standardize import rows_to_frames, standardize_and_scale
from videozoo.autograd import needs_plain_operations
from videozoo.layers.relay_cell import RelayState
from videozoo.shapes import clip_frame_means, fold_time, frame_means, per_clip_frame, per_frame, to_clips

__all__ = ["ClipLayout", "DynamicNorm2d", "NormKind"]

NormKind = Literal["bn", "gn"]


class DynamicNorm2d(ShownAsBatchNorm):
    """Base class of dynamic norms: standardize like the replaced norm, then apply the predicted scale and shift.

    The layout matters only in :meth:`pool`, :meth:`_per_frame` and :meth:`_as_folded`. ``batch_norm_function``
    standardizes. For training in several processes it is replaced by a function with the same signature that computes
    the statistics over all processes.

    In training, batch norm, scale and shift are one function, :func:`standardize_and_scale`. In these cases they are
    two steps with the same result: on devices other than the CPU, in low precision, compiled or exported (the compiler
    fuses the steps), with another ``batch_norm_function``, with group statistics, and on clips that are not in
    ``channels_last_3d`` memory.

    This is not a subclass of ``BatchNorm2d``, because ``SyncBatchNorm.convert_sync_batchnorm`` would turn it into a
    plain norm. It can be synchronized or frozen itself (:class:`~videozoo.augment.norm_types.ShownAsBatchNorm`). A
    frozen norm keeps its statistics and its trained affine parameters. The predicted scale and shift still train.

    Args:
        norm: the norm to replace. Statistics, eps, momentum and a fused activation are kept, with their key names. Its
            affine parameters are dropped, unless ``keep_affine``.
        num_segments: time steps S. The 3-D norms ignore it and read the number of frames from their input.
        kind: standardize over the batch (``"bn"``) or over groups of channels (``"gn"``). None keeps that of ``norm``.
        keep_affine: start as ``norm``: gamma = weight (1 + h_scale h), beta = bias + c_scale c with both scales at
            zero. An extension: in the paper gamma = h and beta = c.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: the class of ``norm`` is not in ``NORM_TYPES``, or ``norm`` has hooks (they would be lost) or
            cumulative statistics.
    """

    num_segments: int
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    h_scale: nn.Parameter
    c_scale: nn.Parameter

    def __init__(self, norm: Any, num_segments: int, kind: NormKind | None = None, keep_affine: bool = False):
        super().__init__()
        check_norm(norm)
        is_group = isinstance(norm, nn.GroupNorm)
        if self.is_folded:
            self.num_segments = num_segments
        self.num_features = channels_of(norm)
        self.eps: float = norm.eps
        self.num_groups = 0
        if (kind or ("gn" if is_group else "bn")) == "gn":
            self.num_groups = norm.num_groups if is_group else math.gcd(32, self.num_features)
        else:
            self._take_statistics(norm, is_group)
        for name in ("weight", "bias", "h_scale", "c_scale"):
            self.register_parameter(name, None)
        if keep_affine:
            self._keep_affine(norm)
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())

    def _take_statistics(self, norm: Any, is_group: bool) -> None:
        self.momentum: float = 0.1
        if is_group:  # a group norm has no running statistics: start with new ones
            norm = nn.BatchNorm2d(self.num_features, affine=False).to(norm.weight.device)
        elif norm.momentum is None or norm.running_mean is None:
            raise ValueError("DNR: a batch norm with momentum=None or without running statistics cannot be replaced.")
        else:
            self.momentum = norm.momentum
            if isinstance(norm, nn.SyncBatchNorm):
                self.batch_norm_function = Synchronized(norm.process_group)  # type: ignore[method-assign]
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def _keep_affine(self, norm: Any) -> None:
        if norm.weight is None:
            raise ValueError("DNR: keep_affine=True, but the norm has no affine pair to keep.")
        self.weight, self.bias = norm.weight, norm.bias
        self.h_scale = nn.Parameter(torch.zeros_like(norm.weight))
        self.c_scale = nn.Parameter(torch.zeros_like(norm.bias))

    def pool(self, x: Tensor) -> Tensor:
        """x_bar of each frame: (B*S, C, H, W) -> (B, S, C)."""
        return frame_means(x, self.num_segments)

    def _per_frame(self, v: Tensor, like: Tensor) -> Tensor:
        return per_frame(v, self.num_segments).to(like.dtype)

    def _as_folded(self, x: Tensor) -> Tensor | None:
        """Return x as folded maps if that is a view, otherwise None."""
        return x

    def pair(self, state: RelayState) -> tuple[Tensor, Tensor]:
        """Return scale and shift (..., C) from the relay's state. ``keep_affine``: they scale the trained ones."""
        h, c = state
        if self.weight is None:
            return h, c
        return self.weight * (1 + self.h_scale * h), self.bias + self.c_scale * c

    def normalize(self, x: Tensor, state: RelayState, row_frames: int | None = None) -> Tensor:
        """Standardize x, then scale by h and shift by c, one row for ``row_frames`` frames.

        Then the fused activation.

        h and c are (B, R, C). None: one row for the whole clip.
        """
        gamma, beta = self.pair(state)
        frames = self.num_segments if self.is_folded else x.shape[2]
        rows = (row_frames or frames, frames)
        if self.num_groups:
            x = F.group_norm(x, self.num_groups, eps=self.eps)
        elif self._trains() or x.dtype != self.running_mean.dtype:
            if self._trains():
                self.num_batches_tracked.add_(1)
                folded = self._as_folded(x) if self._can_merge(x) else None
                if folded is not None:
                    moved = (self.running_mean, self.running_var)
                    folded = standardize_and_scale(folded, gamma, beta, *rows, *moved, self.momentum, self.eps)
                    x = folded if self.is_folded else to_clips(folded, frames)
                    return self.act(self.drop(x))
            x = self._batch_norm(x)
        else:  # one pass: scale and shift take the statistics in (not in low precision, where they would cancel)
            gamma = gamma * torch.rsqrt(self.running_var + self.eps)
            beta = beta - self.running_mean * gamma
        gamma, beta = rows_to_frames(gamma, *rows), rows_to_frames(beta, *rows)
        x = torch.addcmul(self._per_frame(beta, x), x, self._per_frame(gamma, x))
        return self.act(self.drop(x))

    def _trains(self) -> bool:
        """Return whether x is standardized by batch statistics."""
        return self.training and not self.is_frozen

    def _can_merge(self, x: Tensor) -> bool:
        """Return whether :func:`standardize_and_scale` supports x."""
        return (
            x.device.type == "cpu"
            and x.dtype == self.running_mean.dtype
            and x.dtype in (torch.float32, torch.float64)
            and x.numel() > x.shape[1]  # F.batch_norm raises for a single value per channel
            and self.batch_norm_function is F.batch_norm
            and not needs_plain_operations()
        )

    def _batch_norm(self, x: Tensor) -> Tensor:
        """Standardize x (folded frames or clips). Training uses batch statistics and updates the running ones."""
        return self.batch_norm_function(
            x, self.running_mean, self.running_var, training=self._trains(), momentum=self.momentum, eps=self.eps
        )

    def extra_repr(self) -> str:
        kind = f"gn, num_groups={self.num_groups}" if self.num_groups else f"bn, momentum={self.momentum}"
        return f"{self.num_features}, {kind}, eps={self.eps}, keep_affine={self.weight is not None}"


class ClipLayout(DynamicNorm2d):
    """Mixin for dynamic norms on clips: input (B, C, T, H, W), output the same.

    T may differ from layer to layer. Group normalization (``kind="gn"``) standardizes over all frames of a clip
    together.
    """

    is_folded = False

    def pool(self, x: Tensor) -> Tensor:
        """x_bar of each frame: (B, C, T, H, W) -> (B, T, C)."""
        return clip_frame_means(x)

    def _as_folded(self, x: Tensor) -> Tensor | None:
        return fold_time(x) if x.is_contiguous(memory_format=torch.channels_last_3d) else None

    def _per_frame(self, v: Tensor, like: Tensor) -> Tensor:
        return per_clip_frame(v).to(like.dtype)
