"""Temporal excitation and aggregation (TEA)."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.models.res2net import Bottle2neck
from torch import Tensor, nn

from videozoo.layers import MotionExcitation, TemporalConv
from videozoo.surgery import PreConv2d, adopt, replace_modules

__all__ = ["TEA", "ExcitedBottle2neck"]


@dataclass(frozen=True)
class TEA:
    """TEA: motion excitation and learned temporal convolutions in every block of a Res2Net.

    Li et al., 2020 (arXiv:2004.01398). In every block the features after the first convolution are excited by motion
    (ME). Then each part of the channels passes a learned temporal convolution before its spatial one (MTA). The last
    part has no spatial convolution. Its temporal convolution starts as a shift of half its channels each way.

    Example:
        >>> from videozoo import TEA, compose
        >>> compose("res2net50_26w_4s", TEA(), num_classes=10).spec.title
        'TEA on res2net50_26w_4s'
    """

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change every block in place and return the names of the blocks.

        Raises:
            ValueError: the backbone has no Res2Net blocks.
        """
        names = replace_modules(
            net,
            lambda module, _: type(module) is Bottle2neck,
            lambda block, _: ExcitedBottle2neck.from_block(block, num_segments),
        )
        if not names:
            raise ValueError(f"TEA: {type(net).__name__} has no Res2Net blocks; use backbone='res2net50_26w_4s'.")
        return names


class ExcitedBottle2neck(Bottle2neck):
    """A Res2Net block with TEA's modules: ``excite``, a ``pre`` at each of ``convs``, and ``last_shift``.

    Shape:
        that of the block.
    """

    convs: Any
    bn1: Any
    bn3: Any
    conv1: Any
    conv3: Any
    relu: Any
    excite: Any
    last_shift: Any
    drop_block: Any
    pool: Any
    se: Any
    drop_path: Any
    downsample: Any

    @classmethod
    def from_block(cls, block: Any, num_segments: int) -> "ExcitedBottle2neck":
        """Take over ``block``, sharing its parameters and key names."""
        new = adopt(cls, block)
        width = block.width
        place = {"device": block.conv1.weight.device, "dtype": block.conv1.weight.dtype}
        new.excite = MotionExcitation(width * block.scale, num_segments).to(**place)
        new.convs = nn.ModuleList(
            PreConv2d.from_conv(conv, TemporalConv(width, num_segments, shift_div=None).to(**place))
            for conv in block.convs
        )
        new.last_shift = TemporalConv(width, num_segments, shift_div=2).to(**place)
        return new

    def forward(self, x: Tensor) -> Tensor:
        parts = self.excite(self.relu(self.bn1(self.conv1(x)))).split(self.width, 1)
        out: list[Tensor] = []
        for i, (conv, norm) in enumerate(zip(self.convs, self.bns, strict=True)):
            part = parts[i] if i == 0 or self.is_first else out[-1] + parts[i]
            out.append(self.relu(norm(conv(part))))
        last = self.last_shift(parts[-1])
        out.append(last if self.pool is None else self.pool(last))
        y = self.bn3(self.conv3(self.drop_block(torch.cat(out, 1))))
        if self.se is not None:
            y = self.se(y)
        if self.drop_path is not None:
            y = self.drop_path(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))
