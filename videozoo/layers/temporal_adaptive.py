"""Temporal adaptive module of TANet."""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.layers.temporal_conv import mix_neighbors
from videozoo.shapes import frame_means, unfold_time

__all__ = ["TemporalAdaptive"]


fx.wrap("frame_means")
fx.wrap("mix_neighbors")


class TemporalAdaptive(nn.Module):
    """Temporal adaptive module: local attention, then a convolution over time with a kernel predicted from the clip.

    Liu et al., 2021 (arXiv:2005.06803), section 3. theta is the mean of x over H and W: a temporal signal of S values
    per channel::

        local = sigmoid(W2 ReLU(BN(conv3(theta))))
        kernel = softmax(W4 ReLU(BN(W3 theta)))    # kernel size 3, one kernel per channel and clip
        y = kernel * (local x)                     # * is the convolution over time

    Args:
        channels: C.
        num_segments: time steps S. The kernel's branch has weights for exactly S steps.
        reduction: of the local branch's channels.
        expansion: of the kernel's branch.
    Shape:
        input (B*S, C, H, W), output the same.
    """

    mixes_time = True

    def __init__(self, channels: int, num_segments: int, reduction: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.num_segments = self.fixed_segments = num_segments
        steps, hidden = num_segments * expansion, max(1, channels // reduction)
        self.kernel = nn.Sequential(
            nn.Linear(num_segments, steps, bias=False),
            nn.BatchNorm1d(steps),
            nn.ReLU(),
            nn.Linear(steps, 3, bias=False),
            nn.Softmax(-1),
        )
        self.local = nn.Sequential(
            nn.Conv1d(channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernel (B, C, 3) and the local attention (B, S, C), both predicted from x."""
        theta = frame_means(x, self.num_segments).transpose(1, 2)  # (B, C, S)
        kernel = self.kernel(theta.flatten(0, 1)).unflatten(0, (-1, x.shape[1]))
        return kernel, self.local(theta).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        kernel, local = self.attend(x)
        local = F.pad(local, (0, 0, 1, 1))  # (B, S + 2, C)
        # The attention is multiplied into the small kernel, so the scaled map is never created.
        before, center, after = kernel[:, None].unbind(3)
        weights = torch.stack([before * local[:, :-2], center * local[:, 1:-1], after * local[:, 2:]])
        return mix_neighbors(unfold_time(x, self.num_segments), weights).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}"
