"""The motion-squeeze module of MSNet: displacements between neighbouring frames, turned into features."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.autograd import needs_autograd, needs_plain_operations, refuse_second_derivative
from videozoo.shapes import unfold_time

__all__ = ["MotionSqueeze", "displacements", "local_correlation"]


def local_correlation(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """Correlation of each position of ``a`` with its neighbourhood in ``b``, zeros outside the frame.

    out[:, dy, dx, y, x] = sum_c a[:, c, y, x] b[:, c, y + dy - reach, x + dx - reach]

    It is products of rows with rows, of which the band of wanted horizontal displacements is cut: the matrix of all
    pairs of positions never exists.

    Args:
        a, b: feature maps.
        reach: largest displacement in pixels.
    Shape:
        a, b (N, C, H, W); output (N, 2 reach + 1, 2 reach + 1, H, W).
    """
    if needs_plain_operations():
        return _correlate_by_rows(a, b, reach)
    a, b = a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)  # (N, H, W, C)
    if needs_autograd(a, b):
        out: Tensor = _Correlation.apply(a, b, reach)
    else:
        out = _band(_products(a.contiguous(), _pad(b, reach), reach), reach)
    return out.permute(0, 3, 4, 1, 2)


fx.wrap("local_correlation")


def _correlate_by_rows(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """:func:`local_correlation` as plain operations: without writes and overlapping views."""
    height, width = a.shape[-2:]
    side = 2 * reach + 1
    a = a.permute(0, 2, 3, 1)
    b = F.pad(b, (reach, reach, reach, reach)).permute(0, 2, 1, 3)  # (N, H + 2 reach, C, W + 2 reach)
    rows = []
    for dy in range(side):
        product = (a @ b[:, dy : dy + height]).flatten(-2)  # (N, H, W * (W + 2 reach))
        # Element (x, x + dx) lies at x * (W + 2 reach + 1) + dx: a reshape with one more column lines the band up.
        band = F.pad(product, (0, width)).unflatten(-1, (width, width + side))[..., :side]
        rows.append(band.permute(0, 3, 1, 2))
    return torch.stack(rows, 1)


def _pad(b: Tensor, reach: int) -> Tensor:
    """Zeros around maps (N, H, W, C)."""
    return F.pad(b, (0, 0, reach, reach, reach, reach)).contiguous()


def _windows(padded: Tensor, height: int, reach: int) -> Tensor:
    """The rows that each row of a map can reach, one after the other: a view (N, H, (2 reach + 1) (W + 2 reach), C)."""
    n, _, row, channels = padded.shape
    size = (n, height, (2 * reach + 1) * row, channels)
    return padded.as_strided(size, (padded.stride(0), row * channels, channels, 1))


def _band(products: Tensor, reach: int) -> Tensor:
    """The wanted pairs of positions in :func:`_products`, as a view (N, H, W, 2 reach + 1, 2 reach + 1)."""
    n, height, width, length = products.shape
    side, row = 2 * reach + 1, width + 2 * reach
    strides = (height * width * length, width * length, length + 1, row, 1)
    return products.as_strided((n, height, width, side, side), strides)


def _products(a: Tensor, padded: Tensor, reach: int) -> Tensor:
    """Each row of ``a`` (N, H, W, C) times all positions of the rows that it can reach."""
    n, height, width, _ = a.shape
    windows = _windows(padded, height, reach).transpose(2, 3)
    products = a.new_empty(n, height, width, windows.shape[-1])
    for i in range(n):
        torch.bmm(a[i], windows[i], out=products[i])
    return products


class _Correlation(torch.autograd.Function):
    """:func:`local_correlation` of maps (N, H, W, C), which keeps the maps alone, not their products."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, reach: int) -> Tensor:
        a, padded = a.contiguous(), _pad(b, reach)
        ctx.save_for_backward(a, padded)
        ctx.reach = reach
        return _band(_products(a, padded, reach), reach).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        refuse_second_derivative("MotionSqueeze")
        (a, padded), reach = ctx.saved_tensors, ctx.reach
        n, height, width, _ = a.shape
        row = width + 2 * reach
        windows = _windows(padded, height, reach)
        products = a.new_zeros(n, height, width, windows.shape[2])
        _band(products, reach).copy_(grad)
        of_a, of_padded = torch.empty_like(a), torch.zeros_like(padded)
        for i in range(n):
            torch.bmm(products[i], windows[i], out=of_a[i])
            for dy in range(2 * reach + 1):
                part = products[i, :, :, dy * row : (dy + 1) * row]
                of_padded[i, dy : dy + height].baddbmm_(part.transpose(1, 2), a[i])
        return of_a, of_padded[:, reach : reach + height, reach : reach + width], None


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
    flat = correlation.permute(0, 3, 4, 1, 2).flatten(3)  # (N, H, W, K * K): every reduction is over what lies together
    confidence, index = flat.max(3)
    steps = torch.arange(side, device=flat.device, dtype=flat.dtype)
    # The Gaussian is a product of one per axis, and those are rows of a small table.
    table = torch.exp(-((steps - steps[:, None]) ** 2) / (2 * sigma**2))
    along_y, along_x = table[torch.div(index, side, rounding_mode="floor")] * temperature, table[index % side]
    kernel = (along_y[..., :, None] * along_x[..., None, :]).flatten(3)
    weights = torch.softmax(flat * kernel, 3).unflatten(3, (side, side))
    reach = (side - 1) / 2
    axis = steps / reach - 1
    return torch.stack([(weights.sum(3) * axis).sum(3), (weights.sum(4) * axis).sum(3), confidence], 1)


fx.wrap("displacements")


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
        """Displacements (B*S, 3, H, W) of every step: x, y and confidence, see :func:`displacements`."""
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
