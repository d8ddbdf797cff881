"""Slow references of causal layers, frame by frame, for one clip."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo import VideoNet
from videozoo.augment import ArcConv2d, CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.layers import TemporalAdaptive, TemporalShift
from videozoo.layers.relay_cell import RelayState
from videozoo.surgery import hand_over, set_submodule


class Slow(nn.Module):
    """Layer on the frames (T, C, H, W) of one clip, with its original layer and window."""

    def __init__(self, layer: Any, window: int) -> None:
        super().__init__()
        self.layer, self.window = layer, window

    def last(self, rows: list[Tensor], t: int) -> list[Tensor]:
        return rows[max(0, t - self.window + 1) : t + 1]


class SlowShift(Slow):
    def forward(self, x: Tensor) -> Tensor:
        f = x.shape[1] // self.layer.shift_div
        out = x.clone()
        for t in range(len(x)):
            for c in range(f, 2 * f):
                out[t, c] = x[t - 1, c] if t else 0
        return out


class SlowNorm(Slow):
    def scaled(self, x: Tensor, states: list[RelayState]) -> Tensor:
        norm = self.layer
        rows = []
        for frame, (h, c) in zip(x, states, strict=True):
            mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
            rows.append((frame - mean) / torch.sqrt(var + norm.eps) * h[0, :, None, None] + c[0, :, None, None])
        return norm.act(torch.stack(rows))


class SlowCrossTemporal(SlowNorm):
    def forward(self, x: Tensor) -> Tensor:
        cell, size = self.layer.cell, self.layer.group_frames
        means = list(x.mean((2, 3)))
        states: list[RelayState] = []
        for t in range(len(x)):
            if size is None:
                seen, before = self.last(means, t), None
            else:
                start = t // size * size
                seen, before = means[start : t + 1], states[start - 1] if start else None
            states.append(cell.step(cell.embed(torch.stack(seen).mean(0, keepdim=True)), before))
        return self.scaled(x, states)


class SlowCrossLayer(SlowNorm):
    def forward(self, x: Tensor) -> Tensor:
        return hand_over(self.layer.run, lambda state, cell: self.advance(x, state, cell))

    def advance(self, x: Tensor, state: Any, cell: Any) -> tuple[Tensor, Any]:
        means = list(x.mean((2, 3)))
        states = []
        for t in range(len(x)):
            x_bar = torch.stack(self.last(means, t)).mean(0, keepdim=True)
            states.append(cell.step(cell.embed(x_bar), None if state is None else state[t]))
        return self.scaled(x, states), states


class SlowArc(Slow):
    """Eq. 2 to 7 with whole matrices, one frame at a time, with the maximum over past frames."""

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        x = layer.pre(x)
        done: list[list[Tensor]] = []  # Y_1..Y_n of every frame
        for t in range(len(x)):
            now = x[t : t + 1]
            parts: list[Tensor] = []
            done.append(parts)
            for i, size in enumerate(layer.sizes):
                z = now
                if i:
                    y = torch.cat(parts, 1)
                    k = y.shape[1]
                    grow = now.shape[2:]
                    fed = F.conv2d(y, layer.fuse[:, :k])
                    latest = torch.stack([torch.cat(parts_[:i], 1) for parts_ in self.last(done, t)]).amax(0)
                    pooled = {"S": [y.amax((2, 3), keepdim=True)], "T": [latest], "ST": [latest.amax((2, 3), True)]}
                    pooled["S+T"] = pooled["S"] + pooled["T"]
                    attention = sum(F.conv2d(p, layer.attend[:, :k]) for p in pooled[layer.options.aggregation])
                    base = now + F.conv2d(now, layer.embed)
                    if layer.options.interaction == "additive":
                        z = F.relu(base + F.interpolate(fed + attention, grow, mode="nearest"))
                    else:
                        gate = 2 * torch.sigmoid(attention).expand_as(fed)
                        state = base + F.interpolate(fed, grow, mode="nearest")
                        z = F.relu(state * F.interpolate(gate, grow, mode="nearest"))
                start = sum(layer.sizes[:i])
                bias = None if layer.bias is None else layer.bias[start : start + size]
                weight = layer.weight[start : start + size]
                parts.append(F.conv2d(z, weight, bias, layer.stride, layer.padding, layer.dilation))
        return torch.cat([torch.cat(parts, 1) for parts in done])


class SlowAdaptive(Slow):
    def forward(self, x: Tensor) -> Tensor:
        layer, steps = self.layer, self.layer.kernel[0].in_features
        zero = torch.zeros_like(x[0].mean((1, 2)))
        means = [zero] * steps + list(x.mean((2, 3)))
        rows: list[Tensor] = []
        for t in range(len(x)):
            seen = torch.stack(means[t + 1 : t + 1 + steps], 1)  # (C, steps), the present frame last
            kernel, local = layer.kernel(seen)[:, :, None, None], layer.local(seen[None])[0][:, :, None, None]
            row = kernel[:, 1] * local[:, -1] * x[t]
            rows.append(row + kernel[:, 0] * local[:, -2] * x[t - 1] if t else row)
        return torch.stack(rows)


SLOW = {
    TemporalShift: SlowShift,
    CrossTemporalNorm2d: SlowCrossTemporal,
    CrossLayerNorm2d: SlowCrossLayer,
    ArcConv2d: SlowArc,
    TemporalAdaptive: SlowAdaptive,
}


def slow_logits(model: VideoNet, clip: Tensor, average: int | None = None) -> Tensor:
    """Return current logits (T, K) at every frame of one clip (C, T, H, W) of any length, in evaluation mode."""
    window = model.num_frames
    net = copy.deepcopy(model).eval()
    for name, module in reversed(list(net.backbone.named_modules())):  # what lies inside comes first
        if type(module) in SLOW:
            set_submodule(net.backbone, name, SLOW[type(module)](module, window))
    with torch.no_grad():
        frames = net.backbone.forward_features(clip.transpose(0, 1))
        features = net.backbone.forward_head(frames, pre_logits=True)
        count = average or window
        means = [features[max(0, t - count + 1) : t + 1].mean(0) for t in range(len(features))]
        return net.fc(torch.stack(means))
