"""The relation head of TRN."""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

__all__ = ["TemporalRelation"]

_PER_SCALE = 3


class TemporalRelation(nn.Module):
    """Classify a clip from ordered tuples of frames of every length.

    Zhou et al., 2018 (arXiv:1711.08496), eq. 3: for each scale k = S..2 a small network looks at the features of k
    frames in order; the scores of all looked-at tuples are added. Training draws up to three tuples per scale; testing
    takes that many spread evenly over all, so that it gives the same answer every time (the authors draw there too).

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

    def _tuples(self, size: int) -> list[tuple[int, ...]]:
        every = list(combinations(range(self.num_segments), size))
        take = min(_PER_SCALE, len(every))
        if self.training:
            chosen = torch.randperm(len(every), device="cpu")[:take].tolist()
        else:
            chosen = [math.floor((i + 0.5) * len(every) / take) for i in range(take)]
        return [every[i] for i in chosen]

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        scores = [
            net(x[:, frames].flatten(1))
            for net, size in zip(self.scales, range(self.num_segments, 1, -1), strict=True)
            for frames in self._tuples(size)
        ]
        return torch.stack(scores).sum(0)
