"""The relation head of TRN."""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["TemporalRelation"]

_PER_SCALE = 3


class TemporalRelation(nn.Module):
    """Classify a clip from ordered tuples of frames of every length.

    Zhou et al., 2018 (arXiv:1711.08496), eq. 3: for each scale k = S..2 a small network looks at the features of k
    frames in order; the scores of all looked-at tuples are added. Every forward of the authors' code draws up to three
    tuples per scale. So does training here; testing always takes those that their code draws after
    ``numpy.random.seed(0)``, so that it gives one answer, and one that their code can give too.

    Args:
        in_features: features of a frame.
        num_segments: frames S >= 2; there are weights for exactly S frames.
        num_classes: classes.
        hidden: features of a frame after the first linear map.
        bottleneck: width of each scale's network.
    Shape:
        input (B, S, in_features), output (B, num_classes).
    Raises:
        ValueError: fewer than two frames.
    """

    mixes_time = True
    takes_frames = True

    def __init__(
        self, in_features: int, num_segments: int, num_classes: int, hidden: int = 256, bottleneck: int = 256
    ) -> None:
        super().__init__()
        if num_segments < 2:
            raise ValueError(f"TemporalRelation: {num_segments} frame has no relations; need at least 2.")
        self.num_segments = self.fixed_segments = num_segments
        self.project = nn.Linear(in_features, hidden)
        self.scales = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(k * hidden, bottleneck), nn.ReLU(), nn.Linear(bottleneck, num_classes))
            for k in range(num_segments, 1, -1)
        )
        nn.init.normal_(self.project.weight, std=0.001)
        nn.init.zeros_(self.project.bias)
        generator = np.random.RandomState(0)
        self._tested = {num_segments: [tuple(range(num_segments))]}  # the longest is not drawn: there is one
        for size in range(num_segments - 1, 1, -1):
            every = list(combinations(range(num_segments), size))
            chosen = generator.choice(len(every), min(_PER_SCALE, len(every)), replace=False)
            self._tested[size] = [every[i] for i in chosen]

    def _tuples(self, size: int) -> list[tuple[int, ...]]:
        if not self.training:
            return self._tested[size]
        every = list(combinations(range(self.num_segments), size))
        return [every[i] for i in torch.randperm(len(every), device="cpu")[:_PER_SCALE].tolist()]

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        scores = [
            net(x[:, frames].flatten(1))
            for net, size in zip(self.scales, range(self.num_segments, 1, -1), strict=True)
            for frames in self._tuples(size)
        ]
        return torch.stack(scores).sum(0)
