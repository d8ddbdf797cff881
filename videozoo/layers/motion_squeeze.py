"""Motion-squeeze module of MSNet: features from the displacements between neighboring frames."""

import torch
from torch import Tensor, fx, nn

from videozoo.layers.correlation import displacements, local_correlation
from videozoo.shapes import unfold_time

__all__ = ["MotionSqueeze"]


fx.wrap("displacements")
fx.wrap("local_correlation")


def _separable(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class MotionSqueeze(nn.Module):
    """Motion-squeeze module: add features of the motion from each frame to the next.

    Kwon et al., 2020 (arXiv:2007.09933), section 3. Squeezed features of neighboring frames are correlated locally.
    Displacement and confidence go through four depth-wise separable convolutions and are added to the input. The last
    frame takes the motion of the one before it.

    Args:
        channels: C.
        num_segments: time steps S >= 2 folded into the first dimension.
        reach: largest displacement in pixels of this map.
        squeezed: channels that are correlated.
    Shape:
        input (B*S, C, H, W), output the same.
    Raises:
        ValueError: fewer than two time steps.
    """

    mixes_time = True
    min_segments = 2

    def __init__(self, channels: int, num_segments: int, reach: int = 7, squeezed: int = 64) -> None:
        super().__init__()
        if num_segments < self.min_segments:
            raise ValueError("MotionSqueeze: one frame has no motion; pass clips of two frames or more.")
        self.num_segments, self.reach = num_segments, reach
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed), nn.ReLU(inplace=True)
        )
        self.refine = nn.Sequential(
            _separable(3, 16, 7), _separable(16, 32, 3), _separable(32, 64, 3), _separable(64, channels, 3)
        )

    def motion(self, x: Tensor) -> Tensor:
        """Return x and y displacements and confidence of every step (B*S, 3, H, W), see :func:`displacements`."""
        features = self.squeeze(x)
        features = features / torch.sqrt((features**2).sum(1, keepdim=True) + 1e-6)
        features = unfold_time(features, self.num_segments)
        pairs = local_correlation(features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1), self.reach)
        flow = unfold_time(displacements(pairs), self.num_segments - 1)
        return torch.cat([flow, flow[:, -1:]], 1).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.refine(self.motion(x))

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, reach={self.reach}"
