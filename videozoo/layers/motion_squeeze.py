"""The motion-squeeze module of MSNet: displacements between neighbouring frames, turned into features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.shapes import unfold_time

__all__ = ["MotionSqueeze", "displacements", "local_correlation"]


def local_correlation(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """Correlation of each position of ``a`` with its neighbourhood in ``b``, zeros outside the frame.

    out[:, dy, dx, y, x] = sum_c a[:, c, y, x] b[:, c, y + dy - reach, x + dx - reach]

    Per vertical displacement it is one product of rows with rows, of which the band of wanted horizontal displacements
    is cut: the matrix of all pairs of positions never exists.

    Args:
        a, b: feature maps.
        reach: largest displacement in pixels.
    Shape:
        a, b (N, C, H, W); output (N, 2 reach + 1, 2 reach + 1, H, W).
    """
    height, width = a.shape[-2:]
    side = 2 * reach + 1
    a = a.permute(0, 2, 3, 1)  # (N, H, W, C)
    b = F.pad(b, (reach, reach, reach, reach)).permute(0, 2, 1, 3)  # (N, H + 2 reach, C, W + 2 reach)
    rows = []
    for dy in range(side):
        product = (a @ b[:, dy : dy + height]).flatten(-2)  # (N, H, W * (W + 2 reach))
        # Element (x, x + dx) lies at x * (W + 2 reach + 1) + dx: a reshape with one more column lines the band up.
        band = F.pad(product, (0, width)).unflatten(-1, (width, width + side))[..., :side]
        rows.append(band.permute(0, 3, 1, 2))
    return torch.stack(rows, 1)


def displacements(correlation: Tensor, temperature: float = 100.0, sigma: float = 5.0) -> Tensor:
    """Expected displacement and confidence of a local correlation (kernel soft argmax).

    The correlation is weighted by a Gaussian around its maximum, sharpened, and turned into probabilities by softmax.

    Args:
        correlation: of :func:`local_correlation`.
        temperature: factor before the softmax.
        sigma: width of the Gaussian in pixels.
    Shape:
        correlation (N, K, K, H, W); output (N, 3, H, W): x and y displacement over reach, in [-1, 1], and the largest
        correlation.
    """
    side = correlation.shape[1]
    flat = correlation.flatten(1, 2)
    confidence, index = flat.max(1, keepdim=True)
    steps = torch.arange(side, device=flat.device, dtype=flat.dtype)
    y, x = steps.repeat_interleave(side)[:, None, None], steps.repeat(side)[:, None, None]
    peak_y, peak_x = torch.div(index, side, rounding_mode="floor"), index % side
    kernel = torch.exp(-((x - peak_x) ** 2 + (y - peak_y) ** 2) / (2 * sigma**2))
    weights = torch.softmax(flat * kernel * temperature, 1)
    reach = (side - 1) / 2
    flow = [(weights * (axis - reach)).sum(1, keepdim=True) / reach for axis in (x, y)]
    return torch.cat([*flow, confidence], 1)


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
    """Add features of the motion from each frame to the next.

    Kwon et al., 2020 (arXiv:2007.09933), section 3. Squeezed features of neighbouring frames are correlated locally;
    displacement and confidence go through four depth-wise separable convolutions and are added to the input. The last
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

    def __init__(self, channels: int, num_segments: int, reach: int = 7, squeezed: int = 64) -> None:
        super().__init__()
        self.num_segments, self.reach = num_segments, reach
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed), nn.ReLU(inplace=True)
        )
        self.refine = nn.Sequential(
            _separable(3, 16, 7), _separable(16, 32, 3), _separable(32, 64, 3), _separable(64, channels, 3)
        )

    def motion(self, x: Tensor) -> Tensor:
        """Displacements (B*S, 3, H, W) of every step: x, y and confidence, see :func:`displacements`."""
        if self.num_segments < 2:
            raise ValueError("MotionSqueeze: one frame has no motion; pass clips of two frames or more.")
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
