"""Local correlation of two feature maps and the displacements it gives (MSNet)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from videozoo.autograd import CustomGradient

__all__ = ["displacements", "local_correlation"]


def local_correlation(a: Tensor, b: Tensor, reach: int) -> Tensor:
    """Return the correlation of each position of ``a`` with its neighborhood in ``b``, zeros outside the frame.

    out[:, dy, dx, y, x] = sum_c a[:, c, y, x] b[:, c, y + dy - reach, x + dx - reach]

    Rows are multiplied with rows, and the band of horizontal displacements up to ``reach`` is taken from each product.
    The matrix of all pairs of positions is never created.

    Args:
        a, b: feature maps.
        reach: largest displacement in pixels.
    Shape:
        a, b (N, C, H, W). Output (N, 2 reach + 1, 2 reach + 1, H, W).
    """
    return _Correlation.apply(a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1), reach).permute(0, 3, 4, 1, 2)


class _Correlation(CustomGradient):
    """Local correlation: two maps (N, H, W, C) -> (N, H, W, 2 reach + 1, 2 reach + 1).

    Its gradient saves the maps only. Autograd would save the whole products of the rows.
    """

    @staticmethod
    def plain(a: Tensor, b: Tensor, reach: int) -> Tensor:
        height, width = a.shape[1:3]
        side = 2 * reach + 1
        b = _pad(b, reach).transpose(2, 3)  # (N, H + 2 reach, C, W + 2 reach)
        rows = []
        for dy in range(side):
            product = (a @ b[:, dy : dy + height]).flatten(-2)  # (N, H, W * (W + 2 reach))
            # Element (x, x + dx) is at x * (W + 2 reach + 1) + dx: a reshape with one more column aligns the band.
            rows.append(F.pad(product, (0, width)).unflatten(-1, (width, width + side))[..., :side])
        return torch.stack(rows, 3)

    @staticmethod
    def run(kept: list[Tensor] | None, a: Tensor, b: Tensor, reach: int) -> Tensor:
        windows = _windows(_pad(b, reach), a.shape[1], reach).transpose(2, 3)
        products = a.new_empty(*a.shape[:3], windows.shape[-1])
        for i, rows in enumerate(a.contiguous()):
            torch.bmm(rows, windows[i], out=products[i])
        band = _band(products, reach)
        return band if kept is None else band.contiguous()

    @staticmethod
    def gradient(grad: Tensor, _: Any, __: Any, a: Tensor, b: Tensor, reach: int) -> tuple[Tensor, Tensor, None]:
        a, padded = a.contiguous(), _pad(b, reach)
        height, width = a.shape[1:3]
        row = width + 2 * reach
        windows = _windows(padded, height, reach)
        products = a.new_zeros(*a.shape[:3], windows.shape[2])
        _band(products, reach).copy_(grad)
        grad_a, grad_padded = torch.empty_like(a), torch.zeros_like(padded)
        for i in range(len(a)):
            torch.bmm(products[i], windows[i], out=grad_a[i])
            for dy in range(2 * reach + 1):
                part = products[i, :, :, dy * row : (dy + 1) * row]
                grad_padded[i, dy : dy + height].baddbmm_(part.transpose(1, 2), a[i])
        return grad_a, grad_padded[:, reach : reach + height, reach : reach + width], None


def _pad(b: Tensor, reach: int) -> Tensor:
    """Pad maps (N, H, W, C) with zeros on all sides."""
    return F.pad(b, (0, 0, reach, reach, reach, reach)).contiguous()


def _windows(padded: Tensor, height: int, reach: int) -> Tensor:
    """Return the rows within ``reach`` of each row, concatenated: a view (N, H, (2 reach + 1) (W + 2 reach), C)."""
    n, _, row, channels = padded.shape
    size = (n, height, (2 * reach + 1) * row, channels)
    return padded.as_strided(size, (padded.stride(0), row * channels, channels, 1))


def _band(products: Tensor, reach: int) -> Tensor:
    """Return the band of pairs within ``reach``: a view (N, H, W, 2 reach + 1, 2 reach + 1) of the products."""
    n, height, width, length = products.shape
    side, row = 2 * reach + 1, width + 2 * reach
    strides = (height * width * length, width * length, length + 1, row, 1)
    return products.as_strided((n, height, width, side, side), strides)


def displacements(correlation: Tensor, temperature: float = 100.0, sigma: float = 5.0) -> Tensor:
    """Return the expected displacement and the confidence of a local correlation (kernel soft argmax).

    The correlation is weighted by a Gaussian around its maximum, sharpened, and turned into probabilities by softmax.

    Args:
        correlation: of :func:`local_correlation`.
        temperature: factor before the softmax.
        sigma: width of the Gaussian in pixels.
    Shape:
        correlation (N, K, K, H, W). Output (N, 3, H, W): x and y displacement over reach, in [-1, 1], and the largest
        correlation.
    """
    side = correlation.shape[1]
    flat = correlation.permute(0, 3, 4, 1, 2).flatten(3)  # (N, H, W, K * K): reductions over contiguous memory
    confidence, index = flat.max(3)
    steps = torch.arange(side, device=flat.device, dtype=flat.dtype)
    # The 2-D Gaussian is a product of two 1-D ones, which are rows of a small table.
    table = torch.exp(-((steps - steps[:, None]) ** 2) / (2 * sigma**2))
    along_y, along_x = table[torch.div(index, side, rounding_mode="floor")] * temperature, table[index % side]
    kernel = (along_y[..., :, None] * along_x[..., None, :]).flatten(3)
    weights = torch.softmax(flat * kernel, 3).unflatten(3, (side, side))
    reach = (side - 1) / 2
    axis = steps / reach - 1
    return torch.stack([(weights.sum(3) * axis).sum(3), (weights.sum(4) * axis).sum(3), confidence], 1)
