"""Temporal aggregation of bLVNet-TAM, on folded frames and on pairs of frames."""

import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.layers.temporal_conv import TemporalConv, temporal_conv
from videozoo.shapes import unfold_time

__all__ = ["PairAggregation", "TemporalAggregation"]


class TemporalAggregation(TemporalConv):
    """Temporal aggregation module: every channel is a weighted sum of the previous, this and the next frame, rectified.

    Fan et al., 2019 (arXiv:1912.00869), section 3.3. The ReLU and the initialization (He, fan-out) are those of the
    authors' code, so a new module is no identity. TANet's module has the same short name (TAM) and is another one.

    Args:
        channels: C.
        num_segments: time steps S folded into the first dimension.
    Shape:
        input (B*S, C, H, W), output the same. ``weight`` (C, 1, 3): previous, current, next.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__(channels, num_segments)
        nn.init.normal_(self.weight, std=(2 / channels) ** 0.5)

    def _aggregate(self, x: Tensor, steps: int) -> Tensor:
        return F.relu(temporal_conv(unfold_time(x, steps), self.weight.transpose(0, 1)).flatten(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self._aggregate(x, self.num_segments)


class PairAggregation(TemporalAggregation):
    """:class:`TemporalAggregation` on all frames, where a time step has two, which then go different ways.

    Args:
        channels: C.
        num_segments: pairs S of a clip.
        has_frames: the input has a row per frame. Otherwise it has a row per pair, which stands for both of its frames.
    Shape:
        input (B*S*2, C, H, W) or (B*S, C, H, W), output (B*S, 2, C, H, W).
    """

    def __init__(self, channels: int, num_segments: int, has_frames: bool = False) -> None:
        super().__init__(channels, num_segments)
        self.has_frames = has_frames

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.has_frames else x.repeat_interleave(2, 0)
        return self._aggregate(x, 2 * self.num_segments).unflatten(0, (-1, 2))
