"""The norms of DNR: cross-temporal (relay over groups of frames) and cross-layer (relay over depth).

Cai, Yao, Chen, "Dynamic Normalization and Relay for Video Action Recognition", NeurIPS 2021, section 3.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from videozoo.augment.dynamic_norm import ClipLayout, DynamicNorm2d, NormKind
from videozoo.layers.relay_cell import RelayCell, RelayState
from videozoo.shapes import fold_time, to_clips
from videozoo.surgery import hand_over

__all__ = ["CrossLayerNorm2d", "CrossLayerNorm3d", "CrossTemporalNorm2d", "CrossTemporalNorm3d", "Statistics"]

Statistics = Literal["batch", "group"]


class CrossTemporalNorm2d(DynamicNorm2d):
    """Cross-temporal DNR: the relay runs over groups of frames of one layer.

    x_bar of a group is the mean over its frames, height and width. Every group gets its own scale and shift. If S is
    not a multiple of ``group_frames``, the last group is shorter. In evaluation all groups are standardized by the
    same running statistics, for either value of ``statistics``.

    Args:
        norm, num_segments, kind, keep_affine: as in :class:`DynamicNorm2d`.
        cell: the relay.
        group_frames: frames in a group (the relay distance d_r). None: one group, the whole clip.
        backward_cell: a second relay that runs from the last group to the first. Both results are averaged.
        statistics: batch statistics in training. ``"batch"``: over all frames of the batch (the text of the paper).
            ``"group"``: over each group's frames of all clips. The running statistics are then updated once per group,
            in time order (the authors' code).
    Raises:
        ValueError: ``statistics="group"`` with a group norm, which has no batch statistics.
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
                "DNR: ct_statistics='group', but a group norm standardizes each frame by itself and has no batch "
                "statistics; leave it at 'batch'."
            )
        self.cell, self.backward_cell, self.group_frames = cell, backward_cell, group_frames
        self.statistics = statistics

    def forward(self, x: Tensor) -> Tensor:
        frames = self.pool(x)
        return self.normalize(x, self.relay(frames), self.group_frames or frames.shape[1])

    def relay(self, frames: Tensor) -> RelayState:
        """Return h and c of each group, both (B, G, C), from the means of frames (B, S, C).

        Equations 3 to 7 of the paper.
        """
        groups = _group_means(frames, self.group_frames or frames.shape[1])
        state = _run(self.cell, groups)
        if self.backward_cell is None:
            return state
        back = _run(self.backward_cell, groups.flip(1))
        return RelayState((state.h + back.h.flip(1)) / 2, (state.c + back.c.flip(1)) / 2)

    def _can_merge(self, x: Tensor) -> bool:
        return super()._can_merge(x) and not self._by_group()

    def _by_group(self) -> bool:
        return self._trains() and self.statistics == "group" and self.group_frames is not None

    def _batch_norm(self, x: Tensor) -> Tensor:
        if not self._by_group():
            return super()._batch_norm(x)
        standardize = super()._batch_norm
        clips = to_clips(x, self.num_segments) if self.is_folded else x
        clips = torch.cat([standardize(group) for group in clips.split(self.group_frames, 2)], 2)
        return fold_time(clips) if self.is_folded else clips

    def extra_repr(self) -> str:
        statistics = ", statistics=group" if self.statistics == "group" else ""
        return f"{super().extra_repr()}, group_frames={self.group_frames or 'all'}{statistics}"


def _group_means(frames: Tensor, size: int) -> Tensor:
    """Return the mean over consecutive groups of ``size`` frames: (B, S, C) -> (B, ceil(S / size), C)."""
    whole = frames.shape[1] // size * size
    means = [frames[:, :whole].unflatten(1, (-1, size)).mean(2)] if whole else []
    if whole < frames.shape[1]:
        means.append(frames[:, whole:].mean(1, keepdim=True))
    return torch.cat(means, 1) if len(means) > 1 else means[0]


def _run(cell: RelayCell, groups: Tensor) -> RelayState:
    """Run the relay over the groups in order and return h and c: (B, G, C) -> (B, G, C) each."""
    # With a single group phi_h would get no state and its weights no gradient, which DDP refuses: pass a zero state.
    # (Not while torch.jit traces, because it compares graphs with and without gradients.)
    if groups.shape[1] == 1 and torch.is_grad_enabled() and not torch.jit.is_tracing():
        zero = groups.new_zeros(groups.shape[0], groups.shape[2])
        return cell(groups, RelayState(zero, zero))  # type: ignore[no-any-return]
    return cell(groups)  # type: ignore[no-any-return]


class CrossLayerNorm2d(DynamicNorm2d):
    """Cross-layer DNR: the relay runs over depth.

    The blocks of a stage share the state and the cell. A block calls this norm like the one it replaces.
    :func:`~videozoo.surgery.hand_over` reads and stores the state.

    Args:
        norm, num_segments, kind, keep_affine: as in :class:`DynamicNorm2d`.
        run: number of the relay in the stage.
    Shape:
        input (B*S, C, H, W), output the same. If called with a cell and the state of an earlier block (None: zero), it
        returns (x, state).
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
        """Return the normalized x and the new state."""
        pair: RelayState = cell(self.pool(x).mean(1, keepdim=True), state)
        return self.normalize(x, pair), RelayState(pair.h[:, 0], pair.c[:, 0])


class CrossTemporalNorm3d(ClipLayout, CrossTemporalNorm2d):
    """:class:`CrossTemporalNorm2d` on clips (B, C, T, H, W), with groups of consecutive frames along T."""


class CrossLayerNorm3d(ClipLayout, CrossLayerNorm2d):
    """:class:`CrossLayerNorm2d` on clips (B, C, T, H, W)."""
