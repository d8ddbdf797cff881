"""ARC in the order of operations of its paper, for counting only."""

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videozoo.augment import ArcConv2d
from videozoo.surgery import adopt, replace_modules

__all__ = ["PaperArcConv2d", "use_paper_order"]


class PaperArcConv2d(ArcConv2d):
    """:class:`ArcConv2d` with the operations of equations 2-7 in the paper's order.

    Y_j and its pooled maps are upsampled to the size of X before W_f,j and W_a,j are applied, not after. Both ReLUs of
    eq. 5 are computed. The output is the same and the cost differs.

    Shape:
        input and output as of :class:`ArcConv2d`.
    """

    _full_size: torch.Size

    @classmethod
    def from_arc(cls, conv: ArcConv2d) -> Self:
        """Convert ``conv``; the parameters are shared."""
        return adopt(cls, conv)

    def _are_products_possible(self) -> bool:
        return False

    def _refined(self, x: Tensor) -> Tensor:
        self._full_size = x.shape[-2:]
        return super()._refined(x)

    def _map(self, x: Tensor, matrix: Tensor) -> Tensor:
        return super()._map(self._upsample(x), matrix)

    def _pool(self, view: Tensor, j: int) -> list[Tensor]:
        return [self._unrows(self._upsample(self._to_rows(part)), part) for part in super()._pool(view, j)]

    def _refine(self, base: Tensor, floor: Tensor, fused: Tensor | None, attention: Tensor | None) -> Tensor:
        # The layer replaces one ReLU of the paper by a comparison. Here both ReLUs are counted.
        return floor + F.relu(F.relu(super()._refine(base, floor, fused, attention) - floor))

    def _upsample(self, x: Tensor) -> Tensor:
        """Upsample to the size of X by nearest neighbor; a single pixel is broadcast instead."""
        if x.shape[-2:] in (self._full_size, (1, 1)):
            return x
        return F.interpolate(x, size=self._full_size, mode="nearest")


def use_paper_order(net: nn.Module) -> list[str]:
    """Replace every :class:`ArcConv2d` of ``net`` by a :class:`PaperArcConv2d`, in place, and return their names."""
    return replace_modules(
        net, lambda m, _: type(m) is ArcConv2d, lambda m, _: PaperArcConv2d.from_arc(cast(ArcConv2d, m))
    )
