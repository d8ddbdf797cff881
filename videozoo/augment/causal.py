"""Causal versions of DNR's norms and ARC's convolution, for streams."""

import torch
from torch import Tensor

from videozoo.augment.arc_layers import ArcConv2d
from videozoo.augment.cross_norms import CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.layers.causal import Causal
from videozoo.layers.relay_cell import RelayCell, RelayState

__all__ = ["CausalArcConv2d", "CausalCrossLayerNorm2d", "CausalCrossTemporalNorm2d"]


class CausalCrossTemporalNorm2d(Causal, CrossTemporalNorm2d):
    """Cross-temporal DNR with causal groups.

    Frames are grouped as in :class:`CrossTemporalNorm2d`. The scale and shift of a frame are predicted from the mean of
    its group's frames so far and from the state of the previous group. At the last frame of a group they are those of
    :class:`CrossTemporalNorm2d`. Groups of one frame give exactly that module. If the group is the whole clip, the mean
    runs over the last frames of the window.

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
        """Return the state (h and c, both (B, S, C)) at each frame, from the frame means (B, S, C)."""
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
    """Causal cross-layer DNR: every frame relays its own state over depth, from the mean of the window's last frames.

    Shape:
        input (B*S, C, H, W), output the same. States are (B, S, C).
    """

    def advance(self, x: Tensor, state: RelayState | None, cell: RelayCell) -> tuple[Tensor, RelayState]:
        state = cell.step(cell.embed(self._mean_so_far(self.pool(x))), state)
        return self.normalize(x, state, 1), state


class CausalArcConv2d(Causal, ArcConv2d):
    """Causal approximation of ARC's convolution (an extension): the maximum over time runs over past frames only.

    Pool_T takes the maximum over the last frames of the window instead of all frames of the clip. Everything else is as
    in :class:`ArcConv2d`. With two output groups the last frame of a clip gets the same result as there. With more it
    does not, because the later groups of earlier frames have seen fewer frames. ``attention_layer="gru"`` is not
    supported.

    Shape:
        input (B*S, C_in, H, W), output that of the convolution.
    """

    def _are_products_possible(self) -> bool:
        return False  # the fast version takes the maximum over all frames

    def _maximum(self, view: Tensor, dims: tuple[int, ...], j: int) -> Tensor:
        over_space = super()._maximum(view, tuple(dim for dim in dims if dim != self._time_dim), j)
        return self._max_so_far(over_space, f"part{j}") if self._time_dim in dims else over_space
