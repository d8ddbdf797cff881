"""Non-local block: every position of a clip gets a weighted sum over all positions."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.fx import Proxy

__all__ = ["NonLocal3d", "NonLocalOptions"]

Pairwise = Literal["embedded_gaussian", "gaussian", "dot_product"]


@dataclass(frozen=True)
class NonLocalOptions:
    """Options of a non-local block, in which the code bases differ.

    Args:
        pairwise: how two positions are compared. ``"embedded_gaussian"``: softmax of the products of their embeddings
            theta and phi. ``"gaussian"``: the same without embeddings. ``"dot_product"``: the products divided by the
            number of keys.
        is_scaled: divide the products by the root of their number of channels before the softmax.
        pool: frames, height and width of the max pooling of the keys.
        pools_input: pool before phi and g, as PySlowFast. False: after them, as MMAction2.
        has_out_bias: the last convolution has a bias (PySlowFast).
    """

    pairwise: Pairwise = "embedded_gaussian"
    is_scaled: bool = True
    pool: tuple[int, int, int] = (1, 2, 2)
    pools_input: bool = True
    has_out_bias: bool = True


class NonLocal3d(nn.Module):
    """Add a weighted sum over all positions of the clip to every position.

    Wang et al., 2018 (arXiv:1711.07971), section 3. With keys and values at pooled positions j:
    y_i = sum_j f(x_i, x_j) g(x_j), output z_i = norm(W y_i) + x_i. The last norm starts at zero, so a new block
    returns its input.

    Args:
        channels: of the input. Embeddings have half as many.
        options: see :class:`NonLocalOptions`.
    Shape:
        input (B, C, T, H, W), output the same.
    Raises:
        ValueError: T, H or W is less than the pooling's.
    """

    def __init__(self, channels: int, options: NonLocalOptions) -> None:
        super().__init__()
        self.options = options
        inner = channels // 2
        is_embedded = options.pairwise != "gaussian"
        self.theta: nn.Module = nn.Conv3d(channels, inner, 1) if is_embedded else nn.Identity()
        self.phi: nn.Module = nn.Conv3d(channels, inner, 1) if is_embedded else nn.Identity()
        self.g = nn.Conv3d(channels, inner, 1)
        self.pool = nn.MaxPool3d(options.pool)
        self.out = nn.Conv3d(inner, channels, 1, bias=options.has_out_bias)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        self._check_size(x)
        if self.options.pools_input:
            pooled = self.pool(x)
            keys, values = self.phi(pooled), self.g(pooled)
        else:
            keys, values = self.pool(self.phi(x)), self.pool(self.g(x))
        queries, keys, values = (y.flatten(2) for y in (self.theta(x), keys, values))  # (B, C / 2, positions)
        y = self._weights(queries, keys) @ values.transpose(1, 2)
        return self.bn(self.out(y.transpose(1, 2).unflatten(2, x.shape[2:]))) + x

    def _check_size(self, x: Tensor) -> None:
        if isinstance(x, Proxy) or torch.compiler.is_exporting():  # without a size, or with that of the example only
            return
        frames, height, width = self.options.pool
        if x.shape[2] < frames or x.shape[3] < height or x.shape[4] < width:
            size, pool = (" x ".join(map(str, sides)) for sides in (x.shape[2:], self.options.pool))
            raise ValueError(
                f"non-local block: its input is {size} (frames, height, width), less than its pooling of {pool}; take "
                "larger frames, or longer clips."
            )

    def _weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return f of all pairs: (B, C, N) and (B, C, M) -> (B, N, M)."""
        if self.options.pairwise == "dot_product":
            # Counted as a tensor, so that an exported model counts those of its own input.
            count = torch.ones_like(keys[:, :1], dtype=torch.float32).sum(2, keepdim=True)
            queries = (queries / count).to(queries.dtype)  # divided first: half precision would overflow
            return queries.transpose(1, 2) @ keys
        scale = keys.shape[1] ** -0.5 if self.options.is_scaled else 1.0
        return ((queries * scale).transpose(1, 2) @ keys).softmax(2)
