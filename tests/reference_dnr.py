"""Slow reference of DNR from equations 1 to 7 of the paper, one clip, group and block at a time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from helpers import slow_shift
from torch import Tensor

State = tuple[Tensor, Tensor]


def numbered(params: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """The matrices of a bottleneck in order: W1, W2 (, W1', W2', ...)."""
    found = [(int(m[1]), w) for k, w in params.items() if (m := re.fullmatch(rf"{prefix}\.(\d+)\.weight", k))]
    return [w for _, w in sorted(found, key=lambda row: row[0])]


def phi(params: Mapping[str, Tensor], which: str, v: Tensor) -> Tensor:
    """Eq. 7 for one vector: W2 ReLU(W1 v); several units with a ReLU between; one matrix for the kind "fc"."""
    if f"{which}.weight" in params:
        return params[f"{which}.weight"] @ v
    matrices = numbered(params, which)
    for i, w in enumerate(matrices):
        v = w @ v
        if i < len(matrices) - 1:
            v = v.clamp(min=0)
    return v


def step(params: Mapping[str, Tensor], x_bar: Tensor, state: State, relay: str) -> State:
    """Eq. 3 to 5 for one vector x_bar of one clip."""
    h, c = state
    if relay in ("fc", "se"):
        u, v = (phi(params, "phi_x", x_bar) + phi(params, "phi_h", h + c) + params["bias"]).chunk(2)
        return 1 / (1 + torch.exp(-u)), v
    gates = phi(params, "phi_x", x_bar) + params["bias"]
    if relay == "lstm" and "phi_h.0.weight" in params:
        gates = gates + phi(params, "phi_h", h)
    if relay == "none":
        c = torch.zeros_like(c)
    f, i, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.sigmoid(c), c


def zero_state(channels: int) -> State:
    """The state that every relay starts from."""
    return torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)


def standardize(x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Eq. 1 with statistics per channel, of frames (N, C, H, W) or (C, H, W)."""
    shape = (-1, 1, 1)
    return (x - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + eps)


def scale_and_shift(x: Tensor, state: State) -> Tensor:
    """Eq. 2 and 6: gamma = h, beta = c, on frames (N, C, H, W)."""
    h, c = state
    return h.reshape(-1, 1, 1) * x + c.reshape(-1, 1, 1)


def group_rows(num_segments: int, group_frames: int) -> list[list[int]]:
    """Frames of each group, in time order; the last group may be shorter."""
    frames = list(range(num_segments))
    return [frames[i : i + group_frames] for i in range(0, num_segments, group_frames)]


def cross_temporal(
    x: Tensor, params: Mapping[str, Tensor], num_segments: int, group_frames: int, relay: str = "lstm"
) -> list[State]:
    """The pair (h, c) of every frame of x (B*S, C, H, W), and nothing else."""
    pairs: list[State] = []
    for clip in x.split(num_segments):
        state = zero_state(x.shape[1])
        for rows in group_rows(num_segments, group_frames):
            total = sum((clip[t].sum((1, 2)) for t in rows), torch.zeros(x.shape[1], dtype=torch.float64))
            x_bar = total / (len(rows) * x.shape[2] * x.shape[3])
            state = step(params, x_bar, state, relay)
            pairs += [state] * len(rows)
    return pairs


def apply_pairs(standardized: Tensor, pairs: list[State]) -> Tensor:
    """Every frame with its own pair."""
    return torch.stack([scale_and_shift(frame, pair) for frame, pair in zip(standardized, pairs, strict=True)])


def under(params: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a dotted prefix, without it."""
    return {k.removeprefix(f"{prefix}."): v for k, v in params.items() if k.startswith(f"{prefix}.")}


def plain_norm(x: Tensor, params: Mapping[str, Tensor], name: str, eps: float = 1e-5) -> Tensor:
    """A batch norm in evaluation."""
    p = under(params, name)
    x = standardize(x, p["running_mean"], p["running_var"], eps)
    return x * p["weight"].reshape(-1, 1, 1) + p["bias"].reshape(-1, 1, 1)


def dnr_norm(x: Tensor, params: Mapping[str, Tensor], name: str, pairs: list[State], eps: float = 1e-5) -> Tensor:
    """A dynamic norm in evaluation, given the pair of every frame."""
    p = under(params, name)
    return apply_pairs(standardize(x, p["running_mean"], p["running_var"], eps), pairs)


@dataclass
class SlowResnet:
    """Feature maps of a ResNet (basic or bottleneck blocks, told from its keys) with DNR, read from its state dict.

    ``layers`` are the blocks of each stage; x is (B*S, 3, H, W).
    """

    params: Mapping[str, Tensor]
    layers: tuple[int, ...]
    num_segments: int
    order: str = "cl_ct"
    group_frames: int = 4
    cl_distance: int = 1
    interlace: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.params["conv1.weight"], stride=2, padding=3)
        x = F.max_pool2d(torch.relu(plain_norm(x, self.params, "bn1")), 3, 2, 1)
        for stage, blocks in enumerate(self.layers, start=1):
            depth: list[list[State]] = []  # of every block of the stage so far, the pair of every clip
            for b in range(blocks):
                x = self.block(x, f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1, blocks, depth)
        return x

    def block(self, x: Tensor, name: str, stride: int, blocks: int, depth: list[list[State]]) -> Tensor:
        """One residual block; the pairs of its cross-layer norm are appended to ``depth``."""
        w1, w2 = self.params[f"{name}.conv1.weight"], self.params[f"{name}.conv2.weight"]
        deep = f"{name}.conv3.weight" in self.params
        y = slow_shift(x, self.num_segments) if self.interlace else x
        y = F.conv2d(y, w1, padding=w1.shape[-1] // 2, stride=1 if deep else stride)
        y = torch.relu(self.norm(y, name, 1, blocks, depth))
        y = self.norm(F.conv2d(y, w2, padding=1, stride=stride if deep else 1), name, 2, blocks, depth)
        if deep:
            y = plain_norm(F.conv2d(torch.relu(y), self.params[f"{name}.conv3.weight"]), self.params, f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.params:
            x = F.conv2d(x, self.params[f"{name}.downsample.0.weight"], stride=stride)
            x = plain_norm(x, self.params, f"{name}.downsample.1")
        return torch.relu(x + y)

    def norm(self, x: Tensor, block: str, which: int, blocks: int, depth: list[list[State]]) -> Tensor:
        """The first or second norm of a block, as ``order`` says."""
        kind, key = self.order.split("_")[which - 1], f"{block}.bn{which}"
        if kind == "bn":
            return plain_norm(x, self.params, key)
        if kind == "ct":
            cell = under(self.params, f"{key}.cell")
            pairs = cross_temporal(x, cell, self.num_segments, self.group_frames)
            return dnr_norm(x, self.params, key, pairs)
        # A stage of one block has nobody to share a cell with: its own stands at the norm.
        cell = under(self.params, f"{key}.cell" if blocks == 1 else f"{block.partition('.')[0]}.relay.0")
        earlier = depth[-self.cl_distance] if len(depth) >= self.cl_distance else None
        depth.append(
            [
                step(cell, clip.mean((0, 2, 3)), earlier[i] if earlier else zero_state(x.shape[1]), "lstm")
                for i, clip in enumerate(x.split(self.num_segments))
            ]
        )
        return dnr_norm(x, self.params, key, [pair for pair in depth[-1] for _ in range(self.num_segments)])
