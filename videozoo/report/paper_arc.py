"""ARC as its paper computes it, for counting only."""

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment import ArcConv2d
from videozoo.shapes import unfold_time
from videozoo.surgery import adopt, replace_modules

__all__ = ["PaperArcConv2d", "use_paper_order"]


class PaperArcConv2d(ArcConv2d):
    """:class:`ArcConv2d` with the operations of equations 2-7 left in the order in which the paper writes them.

    Y_j and its pooled maps are upsampled to the size of X before W_f,j and W_a,j are applied, not after, and both ReLUs
    of eq. 5 are computed. The output is the same; only the cost differs.

    Shape:
        input and output as of :class:`ArcConv2d`.
    """

    @classmethod
    def from_arc(cls, conv: ArcConv2d) -> Self:
        """Take over ``conv``, sharing its parameters."""
        return adopt(cls, conv)

    def forward(self, input: Tensor) -> Tensor:
        x = self.pre(input)
        size = x.shape[-2:]
        weights = self.weight.split(self.sizes)
        biases = self.bias.split(self.sizes) if self.bias is not None else [None] * len(self.sizes)
        embedded = x if self.embed is None else x + F.conv2d(x, self.embed)
        floor = torch.where(x < 0, x, 0)
        fused: Tensor | None = None
        attention: Tensor | None = None
        y = self._conv_forward(x, weights[0], biases[0])
        parts = [y]
        for j in range(len(self.sizes) - 1):
            if self.fuse is not None:
                term = F.conv2d(_upsample(y, size), self._columns(self.fuse, j))
                fused = term if fused is None else fused + term
            if self.options.attention:
                attention = self._attention(y, j, attention, size)
            # The layer chooses by comparison what the paper writes as a ReLU; here both are counted.
            z = floor + F.relu(F.relu(self._refine(embedded, floor, fused, attention) - floor))
            y = self._conv_forward(z, weights[j + 1], biases[j + 1])
            parts.append(y)
        return torch.cat(parts, 1)

    def _attention(self, y: Tensor, j: int, before: Tensor | None, size: torch.Size) -> Tensor:
        """AM_{j+1} of eq. 7, (B, S, C_in, H, W) up to broadcasting."""
        pooled = [
            _upsample(part.flatten(0, 1), size).unflatten(0, part.shape[:2])
            for part in self._pool(unfold_time(y, self.num_segments), j)
        ]
        if self.gru is not None:
            total = sum(pooled[1:], pooled[0])
            hidden = self.gru(total.flatten(0, 1), None if before is None else before.flatten(0, 1))
            return hidden.unflatten(0, total.shape[:2])
        matrix = self._columns(self.attend, j)
        # W_a,j commutes with the broadcasting sum (+), and eq. 8 counts it on the two small maps.
        mapped = [F.conv2d(part.flatten(0, 1), matrix).unflatten(0, part.shape[:2]) for part in pooled]
        return sum(mapped, before) if before is not None else sum(mapped[1:], mapped[0])


def _upsample(x: Tensor, size: torch.Size) -> Tensor:
    """Nearest upsampling; a single pixel is left to broadcasting."""
    if x.shape[-2:] == size or x.shape[-2:] == (1, 1):
        return x
    return F.interpolate(x, size=size, mode="nearest")


def use_paper_order(net: nn.Module) -> list[str]:
    """Replace every :class:`ArcConv2d` of ``net``, in place, by its :class:`PaperArcConv2d`; return their names."""
    return replace_modules(
        net, lambda m, _: type(m) is ArcConv2d, lambda m, _: PaperArcConv2d.from_arc(cast(ArcConv2d, m))
    )
