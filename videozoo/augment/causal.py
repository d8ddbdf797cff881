"""DNR's norms and ARC's layers for frames as they come."""

import torch
from torch import Tensor

from videozoo.augment.arc_layers import ArcConv2d
from videozoo.augment.cross_norms import CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.layers.causal import Causal
from videozoo.layers.relay_cell import RelayCell, RelayState

__all__ = ["CausalArcConv2d", "CausalCrossLayerNorm2d", "CausalCrossTemporalNorm2d"]


class CausalCrossTemporalNorm2d(Causal, CrossTemporalNorm2d):
    """Cross-temporal DNR with causal groups.

    Groups of frames complete in order, as in :class:`CrossTemporalNorm2d`. A frame's pair is predicted from the mean of
    its group's frames so far and from the state of the group before: that is the group's own pair at its last frame,
    and its first guess at the first. With groups of one frame it is the module itself. Where there is one group only,
    the whole clip, the mean runs over the last frames of the window.

    Shape:
        input (B*S, C, H, W), output the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        frames = self.pool(x)
        if self.group_frames is None:
            state = self.cell.step(self.cell.embed(self._mean_so_far(frames)))
        else:
            state = self._relay(frames, self.group_frames)
        return self.normalize(x, state, 1)

    def _relay(self, frames: Tensor, size: int) -> RelayState:
        """Return both results (B, S, C) from the means of frames (B, S, C)."""
        batch, _, channels = frames.shape
        total = self._recall("total", (batch, channels), frames)
        count = self._recall("count", (batch, 1), frames)
        means, ends = [], []
        for frame in frames.unbind(1):
            total, count = total + frame, count + 1
            means.append(total / count)
            ends.append(count == size)
            total, count = (torch.where(ends[-1], 0, v) for v in (total, count))
        before = RelayState(*(self._recall(name, (batch, channels), frames) for name in RelayState._fields))
        states = []
        for embedded, is_end in zip(self.cell.embed(torch.stack(means, 1)).unbind(1), ends, strict=True):
            states.append(self.cell.step(embedded, before))
            before = RelayState(*(torch.where(is_end, *pair) for pair in zip(states[-1], before, strict=True)))
        for name, value in (("total", total), ("count", count), *before._asdict().items()):
            self._keep(name, value)
        return RelayState(*(torch.stack(rows, 1) for rows in zip(*states, strict=True)))


class CausalCrossLayerNorm2d(Causal, CrossLayerNorm2d):
    """Cross-layer DNR on the mean of the last frames of the window: every frame relays a state of its own over depth.

    Shape:
        input (B*S, C, H, W), output the same. States are (B, S, C).
    """

    def advance(self, x: Tensor, state: RelayState | None, cell: RelayCell) -> tuple[Tensor, RelayState]:
        state = cell.step(cell.embed(self._mean_so_far(self.pool(x))), state)
        return self.normalize(x, state, 1), state


class CausalArcConv2d(Causal, ArcConv2d):
    """The nearest causal form of ARC's convolution, an extension: a maximum over the frames so far.

    Pool_T takes the maximum over the last frames of the window instead of all frames of the clip. All else is as in
    :class:`ArcConv2d`. With two parts it is that layer itself at the last frame of a clip. With more it is not, as the
    later parts of earlier frames have seen less. Not for ``attention_layer="gru"``.

    Shape:
        input (B*S, C_in, H, W), output that of the convolution.
    """

    def _are_products_possible(self) -> bool:
        return False  # they take the maximum over all frames

    def _maximum(self, view: Tensor, dims: tuple[int, ...], j: int) -> Tensor:
        over_space = super()._maximum(view, tuple(dim for dim in dims if dim != self._time_dim), j)
        return self._max_so_far(over_space, f"part{j}") if self._time_dim in dims else over_space
