"""Plain ARC layers from equations 2 to 7 of the paper, which the package's layers are timed against.

Every output group has its own convolutions, every step sums over all j < i, and maps are upsampled first. Nothing is
merged, reordered or recomputed. ``tests/reference_arc.py`` is even slower and works pixel by pixel.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment import ArcConv2d
from videozoo.surgery import set_submodule

__all__ = ["PlainArcConv2d", "make_plain"]


class PlainArcConv2d(nn.Module):
    """Default ARC convolution on folded frames (B*S, C, H, W) that shares the parameters of a layer of the package.

    Z_1 = X;  Z_i = ReLU(ReLU(X + W_e X + sum_{j<i} W_f,j Y_j + sum_{j<i} W_a,j (Pool_S(Y_j) + Pool_T(Y_j))));
    Y_i = conv(Z_i; w_i);  Y = concat(Y_1..Y_n).
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.pre = layer.pre
        self.weight, self.bias = layer.weight, layer.bias
        self.embed, self.fuse, self.attend = layer.embed, layer.fuse, layer.attend
        self.sizes: list[int] = list(layer.sizes)
        self.num_segments: int = layer.num_segments
        self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation

    def forward(self, input: Tensor) -> Tensor:
        x = self.pre(input)
        weights = self.weight.split(self.sizes)
        biases = self.bias.split(self.sizes) if self.bias is not None else [None] * len(self.sizes)
        fuse = self.fuse.split(self.sizes[:-1], 1)
        attend = self.attend.split(self.sizes[:-1], 1)
        parts: list[Tensor] = []
        fused: list[Tensor] = []
        attended: list[Tensor] = []
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = x
            if i > 0:
                z = x + F.conv2d(x, self.embed)
                for part in (*fused, *attended):
                    z = z + part
                z = F.relu(F.relu(z))
            y = F.conv2d(z, weight, bias, self.stride, self.padding, self.dilation)
            parts.append(y)
            if i < len(self.sizes) - 1:
                y = F.interpolate(y, size=x.shape[2:], mode="nearest")
                fused.append(F.conv2d(y, fuse[i]))
                attended.append(F.conv2d(self._pools(y), attend[i]))
        return torch.cat(parts, 1)

    def _pools(self, y: Tensor) -> Tensor:
        """Return Pool_S (+) Pool_T: the maximum over each frame plus the maximum over the clip at each position."""
        clips = y.unflatten(0, (-1, self.num_segments))
        return (clips.amax((3, 4), keepdim=True) + clips.amax(1, keepdim=True)).flatten(0, 1)


def make_plain(net: nn.Module) -> nn.Module:
    """Replace the package's layers in ``net`` by plain ones, in place. Parameters are shared."""
    for name, module in list(net.named_modules()):
        if type(module) is ArcConv2d:
            set_submodule(net, name, PlainArcConv2d(module))
    return net
