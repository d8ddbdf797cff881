"""Recurrent backward attention of ARC (Table 5d of its paper)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["GruAttention"]


class GruAttention(nn.Module):
    """A GRU cell on pooled maps. Its linear maps are 1x1, so every position has its own hidden state.

    The weights of the candidate start at zero, so the hidden state and the attention start at zero.

    Shape:
        pooled maps and hidden state (..., C, ...) with the channels at ``channel_dim``. Output as the hidden state.
    """

    def __init__(self, in_channels: int, hidden: int, make: Callable[[int, int], nn.Module], channel_dim: int) -> None:
        super().__init__()
        self.input = make(in_channels, 3 * hidden)
        self.hidden = make(hidden, 3 * hidden)
        self.channels, self.channel_dim = hidden, channel_dim
        with torch.no_grad():
            for part in (self.input, self.hidden):
                for parameter in part.parameters():
                    parameter[2 * hidden :] = 0

    def forward(self, pooled: Tensor, h: Tensor | None) -> Tensor:
        dim = self.channel_dim
        if h is None:
            shape = list(pooled.shape)
            shape[dim] = self.channels
            h = pooled.new_zeros(shape)
        reset_x, update_x, new_x = self.input(pooled).chunk(3, dim=dim)
        reset_h, update_h, new_h = self.hidden(h).chunk(3, dim=dim)
        update = torch.sigmoid(update_x + update_h)
        candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return candidate + update * (h - candidate)
