"""Temporal relation head of TRN."""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from videozoo.layers.frame_tuples import MAX_FRAMES, draw_tuples, tested_tuples

__all__ = ["TemporalRelation"]


fx.wrap("draw_tuples")


class TemporalRelation(nn.Module):
    """Head that classifies a clip from ordered frame tuples of every length.

    Zhou et al., 2018 (arXiv:1711.08496), eq. 3: for each scale k = S..2 an MLP takes the features of k frames in order.
    The scores of all sampled tuples are added. Training samples up to three tuples per scale in every forward, as in
    the authors' code. Testing always uses the tuples that their code draws after ``numpy.random.seed(0)``, so the
    result is deterministic. For lengths with more than three million tuples, which their code cannot list, testing uses
    three fixed random tuples.

    Args:
        in_features: features of a frame.
        num_segments: frames S, 2 to 64. There are weights for exactly S frames.
        num_classes: classes.
        hidden: features of a frame after the first linear map.
        bottleneck: width of each scale's model.
    Shape:
        input (B, S, in_features), output (B, num_classes).
    Raises:
        ValueError: fewer than 2 or more than 64 frames.
    """

    mixes_time = True
    takes_frames = True

    def __init__(
        self, in_features: int, num_segments: int, num_classes: int, hidden: int = 256, bottleneck: int = 256
    ) -> None:
        super().__init__()
        if not 2 <= num_segments <= MAX_FRAMES:
            raise ValueError(
                f"TRN: a clip of {num_segments} frames; it relates at least 2 (one has no relations), and at most "
                f"{MAX_FRAMES}."
            )
        self.num_segments = self.fixed_segments = num_segments
        self.project = nn.Linear(in_features, hidden)
        self.scales = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(k * hidden, bottleneck), nn.ReLU(), nn.Linear(bottleneck, num_classes))
            for k in range(num_segments, 1, -1)
        )
        nn.init.normal_(self.project.weight, std=0.001)
        nn.init.zeros_(self.project.bias)
        self._tested = tested_tuples(num_segments)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        tuples: Mapping[int, list[tuple[int, ...]] | Tensor] = self._tested
        if self.training and self.num_segments > 2:
            tuples = draw_tuples(self.num_segments, x.device)
        scores = []
        for net, size in zip(self.scales, range(self.num_segments, 1, -1), strict=True):
            chosen = x[:, None] if size == self.num_segments else x[:, tuples[size]]  # (B, 1 or 3, size, hidden)
            scores.append(net(chosen.flatten(2)).sum(1))
        return torch.stack(scores).sum(0)
