"""Normalisation whose scale and shift are predicted: the two modules of DNR, for folded frames and for clips.

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021, section 3.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment.known_norms import ShownAsBatchNorm, Synchronized, check_norm
from videozoo.augment.standardise import rows_to_frames, standardise_and_scale
from videozoo.autograd import needs_plain_operations
from videozoo.layers.relay_cell import RelayCell, RelayState
from videozoo.shapes import clip_frame_means, fold_time, frame_means, per_clip_frame, per_frame, to_clips
from videozoo.surgery import hand_over

__all__ = [
    "CrossLayerNorm2d",
    "CrossLayerNorm3d",
    "CrossTemporalNorm2d",
    "CrossTemporalNorm3d",
    "DynamicNorm2d",
    "NormKind",
    "Statistics",
]

NormKind = Literal["bn", "gn"]
Statistics = Literal["batch", "group"]


class DynamicNorm2d(ShownAsBatchNorm):
    """The part that all dynamic norms share: standardise as before, then scale and shift by what was predicted.

    What depends on the layout is in :meth:`pool`, :meth:`_per_frame` and :meth:`_as_folded` alone.
    ``batch_norm_function`` standardises; a trainer of several processes puts one with the same signature there that
    takes the statistics over all of them.

    In training a batch norm and the scale and shift after it are one function, :func:`standardise_and_scale`. Where
    that has no place they are two steps with the same result: on other devices than the CPU, whose kernels it is made
    of; in low precision; compiled or exported, where the compiler joins the steps itself; with another
    ``batch_norm_function``; with statistics of groups; and for clips that are not in ``channels_last_3d`` memory.

    Not a ``BatchNorm2d``: ``SyncBatchNorm.convert_sync_batchnorm`` would turn a subclass into a plain norm. It becomes
    synchronized, or frozen, itself (:class:`~videozoo.augment.known_norms.ShownAsBatchNorm`); a frozen one keeps its
    statistics and its trained pair, and goes on training the predicted one.

    Args:
        norm: the norm that is replaced; statistics, eps, momentum and a fused activation are taken over, with their
            key names. Its affine pair is dropped, unless ``keep_affine``.
        num_segments: time steps S; the 3-D norms see the number of frames in their input and take no notice of it.
        kind: standardise over the batch (``"bn"``) or over groups of channels (``"gn"``); None keeps that of ``norm``.
        keep_affine: start as ``norm``: gamma = weight (1 + h_scale h), beta = bias + c_scale c with both scales at
            zero. An extension: in the paper gamma = h and beta = c.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: ``norm`` is of a class that is not in ``NORM_TYPES``, has hooks, which would be lost, or keeps
            cumulative statistics.
    """

    mixes_time = False
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
        self.num_features: int = norm.num_channels if is_group else norm.num_features
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
        if is_group:  # a group norm has no statistics to start from
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
        """x as folded maps, if that is only a view."""
        return x

    def normalise(self, x: Tensor, state: RelayState, row_frames: int | None = None) -> Tensor:
        """Standardise x, then scale by h and shift by c, one row for ``row_frames`` frames; then the fused activation.

        h and c are (B, R, C); None: one row for the whole clip.
        """
        gamma, beta = state
        if self.weight is not None:
            gamma, beta = self.weight * (1 + self.h_scale * gamma), self.bias + self.c_scale * beta
        frames = self.num_segments if self.is_folded else x.shape[2]
        rows = (row_frames or frames, frames)
        if self.num_groups:
            x = F.group_norm(x, self.num_groups, eps=self.eps)
        elif self._trains() or x.dtype != self.running_mean.dtype:
            if self._trains():
                self.num_batches_tracked.add_(1)
                folded = self._as_folded(x) if self._is_plain(x) else None
                if folded is not None:
                    moved = (self.running_mean, self.running_var)
                    folded = standardise_and_scale(folded, gamma, beta, *rows, *moved, self.momentum, self.eps)
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
        """Whether x is standardised by its own statistics."""
        return self.training and not self.is_frozen

    def _is_plain(self, x: Tensor) -> bool:
        """Whether standardising x, scaling and shifting it can be one function."""
        return (
            x.device.type == "cpu"
            and x.dtype == self.running_mean.dtype
            and x.dtype in (torch.float32, torch.float64)
            and x.numel() > x.shape[1]  # of a single value a batch norm complains
            and self.batch_norm_function is F.batch_norm
            and not needs_plain_operations()
        )

    def _batch_norm(self, x: Tensor) -> Tensor:
        """Standardise x, folded or not; in training by its own statistics, towards which the running ones move."""
        return self.batch_norm_function(
            x, self.running_mean, self.running_var, training=self._trains(), momentum=self.momentum, eps=self.eps
        )

    def extra_repr(self) -> str:
        kind = f"gn, num_groups={self.num_groups}" if self.num_groups else f"bn, momentum={self.momentum}"
        return f"{self.num_features}, {kind}, eps={self.eps}, keep_affine={self.weight is not None}"


class CrossTemporalNorm2d(DynamicNorm2d):
    """Cross-temporal DNR: the relay runs over groups of frames of one layer.

    x_bar of a group is the mean over its frames, height and width; every group is normalised with its own pair. With S
    not a multiple of the group's length the last group is shorter. In evaluation all groups are standardised by the
    same running statistics, whatever ``statistics`` says.

    Args:
        norm, num_segments, kind, keep_affine: as in :class:`DynamicNorm2d`.
        cell: the relay.
        group_frames: frames in a group (the relay distance d_r); None: one group, the whole clip.
        backward_cell: a second relay that runs from the last group to the first; the two pairs are averaged.
        statistics: what a batch norm standardises by in training: ``"batch"``, all frames of the batch, as usual (the
            text of the paper), or ``"group"``, every group by its own frames of all clips, after which the running
            statistics are moved once per group, in time order (the authors' code).
    Raises:
        ValueError: group statistics for a group norm over channels, which has none of a batch.
    """

    def __init__(
        self,
        norm: nn.Module,
        num_segments: int,
        cell: RelayCell,
        group_frames: int | None,
        backward_cell: RelayCell | None = None,
        kind: NormKind | None = None,
        keep_affine: bool = False,
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(norm, num_segments, kind, keep_affine)
        if statistics == "group" and self.num_groups:
            raise ValueError(
                "DNR: ct_statistics='group', but a group norm standardises each frame by itself and has no batch "
                "statistics; leave it at 'batch'."
            )
        self.cell, self.backward_cell, self.group_frames = cell, backward_cell, group_frames
        self.statistics = statistics

    def forward(self, x: Tensor) -> Tensor:
        frames = self.pool(x)
        return self.normalise(x, self.relay(frames), self.group_frames or frames.shape[1])

    def relay(self, frames: Tensor) -> RelayState:
        """h and c of each group, both (B, G, C), from the means of frames (B, S, C) (eq. 3 to 7)."""
        groups = _group_means(frames, self.group_frames or frames.shape[1])
        state = _run(self.cell, groups)
        if self.backward_cell is None:
            return state
        back = _run(self.backward_cell, groups.flip(1))
        return RelayState((state.h + back.h.flip(1)) / 2, (state.c + back.c.flip(1)) / 2)

    def _is_plain(self, x: Tensor) -> bool:
        return super()._is_plain(x) and not self._by_group()

    def _by_group(self) -> bool:
        return self._trains() and self.statistics == "group" and self.group_frames is not None

    def _batch_norm(self, x: Tensor) -> Tensor:
        if not self._by_group():
            return super()._batch_norm(x)
        standardise = super()._batch_norm
        clips = to_clips(x, self.num_segments) if self.is_folded else x
        clips = torch.cat([standardise(group) for group in clips.split(self.group_frames, 2)], 2)
        return fold_time(clips) if self.is_folded else clips

    def extra_repr(self) -> str:
        statistics = ", statistics=group" if self.statistics == "group" else ""
        return f"{super().extra_repr()}, group_frames={self.group_frames or 'all'}{statistics}"


def _group_means(frames: Tensor, size: int) -> Tensor:
    """Mean over consecutive groups of ``size`` frames: (B, S, C) -> (B, ceil(S / size), C)."""
    whole = frames.shape[1] // size * size
    means = [frames[:, :whole].unflatten(1, (-1, size)).mean(2)] if whole else []
    if whole < frames.shape[1]:
        means.append(frames[:, whole:].mean(1, keepdim=True))
    return torch.cat(means, 1) if len(means) > 1 else means[0]


def _run(cell: RelayCell, groups: Tensor) -> RelayState:
    """The relay over (B, G, C), in order; both results (B, G, C)."""
    # With a single group phi_h would see no state and its weights no gradient, which DDP refuses: give it the zero.
    # (Not while torch.jit traces, which compares graphs with and without gradients.)
    if groups.shape[1] == 1 and torch.is_grad_enabled() and not torch.jit.is_tracing():
        zero = groups.new_zeros(groups.shape[0], groups.shape[2])
        return cell(groups, RelayState(zero, zero))  # type: ignore[no-any-return]
    return cell(groups)  # type: ignore[no-any-return]


class CrossLayerNorm2d(DynamicNorm2d):
    """Cross-layer DNR: the relay runs over depth; state and cell come from the stage and are shared by its blocks.

    A block calls it as it called the norm before, and :func:`~videozoo.surgery.hand_over` fetches and keeps the state.

    Args:
        norm, num_segments, kind, keep_affine: as in :class:`DynamicNorm2d`.
        run: number of the relay in the stage.
    Shape:
        input (B*S, C, H, W), output the same; given a cell, and the state of an earlier block or None for zero, the
        output is (x, state).
    """

    def __init__(
        self,
        norm: nn.Module,
        num_segments: int,
        kind: NormKind | None = None,
        keep_affine: bool = False,
        run: int = 0,
    ) -> None:
        super().__init__(norm, num_segments, kind, keep_affine)
        self.run = run

    def forward(self, x: Tensor, state: RelayState | None = None, cell: RelayCell | None = None) -> Any:
        if cell is not None:
            return self.advance(x, state, cell)
        return hand_over(self.run, lambda state, cell: self.advance(x, state, cell))

    def advance(self, x: Tensor, state: RelayState | None, cell: RelayCell) -> tuple[Tensor, RelayState]:
        """The normalised x, and the state after it."""
        pair: RelayState = cell(self.pool(x).mean(1, keepdim=True), state)
        return self.normalise(x, pair), RelayState(pair.h[:, 0], pair.c[:, 0])


class _ClipLayout(DynamicNorm2d):
    """The same on clips: input (B, C, T, H, W), output the same; T may differ from layer to layer.

    Group normalisation (``kind="gn"``) standardises over the frames of a clip together.
    """

    is_folded = False

    def pool(self, x: Tensor) -> Tensor:
        """x_bar of each frame: (B, C, T, H, W) -> (B, T, C)."""
        return clip_frame_means(x)

    def _as_folded(self, x: Tensor) -> Tensor | None:
        return fold_time(x) if x.is_contiguous(memory_format=torch.channels_last_3d) else None

    def _per_frame(self, v: Tensor, like: Tensor) -> Tensor:
        return per_clip_frame(v).to(like.dtype)


class CrossTemporalNorm3d(_ClipLayout, CrossTemporalNorm2d):
    """:class:`CrossTemporalNorm2d` on clips (B, C, T, H, W); groups are cut along the T of the tensor."""


class CrossLayerNorm3d(_ClipLayout, CrossLayerNorm2d):
    """:class:`CrossLayerNorm2d` on clips (B, C, T, H, W)."""
