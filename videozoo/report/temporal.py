"""Temporal convolutions as convolutions, for counting only."""

import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers import TemporalAdaptive, TemporalConv
from videozoo.shapes import unfold_time

__all__ = ["CountedTemporalAdaptive", "CountedTemporalConv", "use_convolutions"]


class CountedTemporalConv(TemporalConv):
    """:class:`TemporalConv` by a convolution of PyTorch instead of products and sums of shifted maps.

    The output is the same; a counter of multiply-adds sees three per element, where it sees none in products of maps.

    Shape:
        as of :class:`TemporalConv`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _convolve(unfold_time(x, self.num_segments), self.weight.transpose(0, 1).to(x.dtype)).flatten(0, 1)


class CountedTemporalAdaptive(TemporalAdaptive):
    """:class:`TemporalAdaptive` with the same exchange as in :class:`CountedTemporalConv`.

    Shape:
        as of :class:`TemporalAdaptive`.
    """

    def forward(self, x: Tensor) -> Tensor:
        theta = unfold_time(x.mean((2, 3)), self.num_segments).transpose(1, 2)
        kernel = self.kernel(theta.flatten(0, 1)).unflatten(0, (-1, x.shape[1]))
        local = self.local(theta).transpose(1, 2)[..., None, None]
        return _convolve(unfold_time(x, self.num_segments) * local, kernel).flatten(0, 1)


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """``videozoo.layers.temporal_conv`` for x (B, S, C, H, W) and a kernel (B, C, 3) or (1, C, 3)."""
    b, s, c, h, w = x.shape
    weight = kernel.expand(b, c, 3).reshape(b * c, 1, 3, 1)
    flat = x.transpose(1, 2).reshape(1, b * c, s, h * w)
    return F.conv2d(flat, weight, padding=(1, 0), groups=b * c).reshape(b, c, s, h, w).transpose(1, 2)


_COUNTED: dict[type[nn.Module], type[nn.Module]] = {
    TemporalConv: CountedTemporalConv,
    TemporalAdaptive: CountedTemporalAdaptive,
}


def use_convolutions(net: nn.Module) -> list[str]:
    """Let every temporal convolution of ``net`` be its counted stand-in, in place; return their names."""
    found = [(name, module) for name, module in net.named_modules() if type(module) in _COUNTED]
    for _, module in found:
        module.__class__ = _COUNTED[type(module)]
    return [name for name, _ in found]
