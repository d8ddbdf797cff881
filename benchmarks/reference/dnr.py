"""Plain DNR norms from equations 1 to 7 of the paper, which the package's norms are timed against.

Each norm standardizes its input. A loop over groups of frames then predicts scale and shift of each group.
``tests/reference_dnr.py`` is even slower and works frame by frame.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment.cross_norms import CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.surgery import hand_over, set_submodule

__all__ = ["PlainCrossLayerNorm2d", "PlainCrossTemporalNorm2d", "make_plain"]

State = tuple[Tensor, Tensor]


def relay_step(cell: Any, x_bar: Tensor, state: State) -> State:
    """Return the next state (eq. 3 to 5) for rows x_bar (B, C). phi_h is None where no state arrives."""
    h, c = state
    gates = cell.phi_x(x_bar) + cell.bias
    if cell.phi_h is not None:
        gates = gates + cell.phi_h(h)
    f, i, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.sigmoid(c), c


class _PlainNorm2d(nn.Module):
    """Norm of eq. 1, 2 and 6 that shares the statistics and the cell of a norm of the package."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.num_segments: int = norm.num_segments
        self.momentum, self.eps = norm.momentum, norm.eps
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def _standardize(self, x: Tensor) -> Tensor:
        mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        x = F.batch_norm(x, mean, var, training=self.training, momentum=self.momentum, eps=self.eps)
        return x.unflatten(0, (-1, self.num_segments))

    @staticmethod
    def _scale_and_shift(x: Tensor, state: State) -> Tensor:
        gamma, beta = (v[:, None, :, None, None].to(x.dtype) for v in state)
        return gamma * x + beta

    @staticmethod
    def _zero(x: Tensor) -> State:
        zero = x.new_zeros(x.shape[0], x.shape[2])
        return zero, zero


class PlainCrossTemporalNorm2d(_PlainNorm2d):
    """Norm that relays scale and shift from one group of frames to the next."""

    def __init__(self, norm: Any) -> None:
        super().__init__(norm)
        self.cell = norm.cell
        self.group_frames: int = norm.group_frames or norm.num_segments

    def forward(self, x: Tensor) -> Tensor:
        clips = x.unflatten(0, (-1, self.num_segments))
        standard = self._standardize(x)
        state = self._zero(clips)
        groups = []
        for first in range(0, self.num_segments, self.group_frames):
            group = slice(first, first + self.group_frames)
            state = relay_step(self.cell, clips[:, group].mean((1, 3, 4)), state)
            groups.append(self._scale_and_shift(standard[:, group], state))
        return torch.cat(groups, 1).flatten(0, 1)


class PlainCrossLayerNorm2d(_PlainNorm2d):
    """Norm that relays scale and shift from block to block."""

    def __init__(self, norm: Any) -> None:
        super().__init__(norm)
        self.run: int = norm.run

    def forward(self, x: Tensor) -> Tensor:
        return hand_over(self.run, lambda state, cell: self._advance(x, state, cell))

    def _advance(self, x: Tensor, state: State | None, cell: Any) -> tuple[Tensor, State]:
        clips = x.unflatten(0, (-1, self.num_segments))
        state = relay_step(cell, clips.mean((1, 3, 4)), state or self._zero(clips))
        return self._scale_and_shift(self._standardize(x), state).flatten(0, 1), state


def make_plain(net: nn.Module) -> nn.Module:
    """Put the plain norms wherever ``net`` has the package's, in place; parameters and statistics are shared."""
    kinds: dict[type[nn.Module], type[nn.Module]] = {
        CrossTemporalNorm2d: PlainCrossTemporalNorm2d,
        CrossLayerNorm2d: PlainCrossLayerNorm2d,
    }
    for name, module in list(net.named_modules()):
        if type(module) in kinds:
            set_submodule(net, name, kinds[type(module)](module))
    return net
