"""Light recurrent cell of DNR, which predicts scale and shift."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from videozoo.layers.options import check_choice

__all__ = ["RELAYS", "Relay", "RelayCell", "RelayState"]

Relay = Literal["lstm", "fc", "se", "none"]
RELAYS: tuple[Relay, ...] = get_args(Relay)


class RelayState(NamedTuple):
    """Hidden and cell state, which are the predicted scale and shift: (B, C), or (B, G, C) for G steps."""

    h: Tensor
    c: Tensor


def _bottleneck(channels: int, hidden: int, out: int, depth: int, bias: bool) -> nn.Sequential:
    """Return phi of eq. 7: ``depth`` units C -> C/r -> C with ReLU in between, the last one C -> C/r -> out."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(channels, hidden, bias=bias), nn.ReLU()]
        layers += [nn.Linear(hidden, out if i == depth - 1 else channels, bias=bias)]
        if i < depth - 1:
            layers += [nn.ReLU()]
    return nn.Sequential(*layers)


class RelayCell(nn.Module):
    """A recurrent cell that predicts a scale h and a shift c from pooled features and from the previous h' and c'.

    Cai et al., NeurIPS 2021, eq. 3-7. ``relay="lstm"``::

        (f, i, g, o) = phi_h(h') + phi_x(x_bar) + b
        c = sigmoid(f) c' + sigmoid(i) tanh(g)
        h = sigmoid(o) sigmoid(c)
        phi(v) = W2 ReLU(W1 v) with W1: C -> C/r and W2: C/r -> 4C

    Eq. 7 prints W2 as C/r -> C, too few outputs for the four gates of eq. 3. The authors' code has 4C, as here.

    The other kinds are from Table 1d. ``"none"`` is the same cell with a state that is always zero. For ``"fc"`` and
    ``"se"`` the paper gives no equation. Here (u, v) = phi_h(h' + c') + phi_x(x_bar) + b, h = sigmoid(u), c = v,
    where phi is one linear map ("fc") or the bottleneck ("se").

    Args:
        channels: C.
        reduction: r >= 1. The bottleneck has max(1, C // r) units.
        depth: bottleneck units in phi, at least 1.
        relay: kind of relay.
        linear_bias: every linear map has its own bias, as in the authors' code, instead of the one b of eq. 3.
        recurrent: False omits phi_h, whose weights would be unused in a cell that never gets a state.
    Shape:
        means of G groups (B, G, C) and the state before the first, two (B, C) or None for zero -> states after each
        group, two (B, G, C). ``embed``: (..., C) -> (..., 4C) ("lstm", "none") or (..., 2C) ("fc", "se").
        ``step``: embedded (B, .) and a state of two (B, C), or None for zero -> state of two (B, C).
    Raises:
        ValueError: an unknown ``relay``, ``reduction`` or ``depth`` below 1.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        depth: int = 1,
        relay: Relay = "lstm",
        linear_bias: bool = False,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        check_choice("RelayCell", "relay", relay, RELAYS)
        if reduction < 1 or depth < 1:
            raise ValueError(f"RelayCell: reduction={reduction} and depth={depth} must both be at least 1.")
        self.channels, self.relay = channels, relay
        hidden = max(1, channels // reduction)
        out = (4 if relay in ("lstm", "none") else 2) * channels

        def phi() -> nn.Module:
            if relay == "fc":
                return nn.Linear(channels, out, bias=linear_bias)
            return _bottleneck(channels, hidden, out, depth, linear_bias)

        self.phi_x = phi()
        self.phi_h = phi() if recurrent and relay != "none" else None
        self.linear_bias = linear_bias
        self.register_parameter("bias", None if linear_bias else nn.Parameter(torch.zeros(out)))

    def forward(self, groups: Tensor, state: RelayState | None = None) -> RelayState:
        """Run the cell over the groups in order and return the state after each."""
        states = []
        for embedded in self.embed(groups).unbind(1):
            state = self.step(embedded, state)
            states.append(state)
        if len(states) == 1:
            return RelayState(states[0].h.unsqueeze(1), states[0].c.unsqueeze(1))
        return RelayState(torch.stack([s.h for s in states], 1), torch.stack([s.c for s in states], 1))

    def embed(self, x_bar: Tensor) -> Tensor:
        """Return phi_x(x_bar) + b. It does not depend on the state, so one product serves all groups."""
        embedded: Tensor = self.phi_x(x_bar)
        return embedded if self.bias is None else embedded + self.bias

    def step(self, embedded: Tensor, state: RelayState | None = None) -> RelayState:
        """Return the next state. For a zero state, phi_h is computed only if it has biases (else it is zero)."""
        if state is None and self.phi_h is not None and self.linear_bias:
            zero = embedded.new_zeros(*embedded.shape[:-1], self.channels)
            state = RelayState(zero, zero)
        if state is not None and self.phi_h is not None:
            embedded = embedded + self.phi_h(state.h if self.relay == "lstm" else state.h + state.c)
        if self.relay in ("fc", "se"):
            u, v = embedded.chunk(2, dim=-1)
            return RelayState(torch.sigmoid(u), v)
        f, i, _, o = torch.sigmoid(embedded).chunk(
            4, dim=-1
        )  # one call: for small tensors the overhead of a call dominates
        c = i * torch.tanh(embedded.chunk(4, dim=-1)[2])
        if state is not None and self.phi_h is not None:
            c = c + f * state.c
        return RelayState(o * torch.sigmoid(c), c)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, relay={self.relay}"
