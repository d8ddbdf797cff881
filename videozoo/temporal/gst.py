"""Grouped spatial-temporal aggregation (GST)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from videozoo.layers import GroupedSpatialTemporal
from videozoo.layers.options import check_choice, check_count
from videozoo.surgery import Block, find_spatial, write_plan

__all__ = ["GST"]


@dataclass(frozen=True)
class GST:
    """GST: the 3x3 convolution of every bottleneck is split into a spatial and a spatio-temporal part.

    Luo and Yuille, 2019 (arXiv:1909.13130). As in the authors' code, the spatial part keeps the filters of the backbone
    that fit its channels, and the spatio-temporal part starts at random. ``GST(beta=1)`` is the paper's GST-Large.

    Args:
        alpha: 1 / the fraction of output channels that the spatio-temporal part computes.
        beta: 1 / the fraction of input channels that each part sees. 2: one half each. 1: both see all.
    Raises:
        ValueError: ``alpha`` is not a whole number of at least 2, or ``beta`` is neither 1 nor 2.
    Example:
        >>> from videozoo import GST, compose
        >>> model = compose("resnet50", GST(), num_classes=10)
        >>> len(model.sites["gst"]), model.sites["gst"][0]
        (16, 'layer1.0.conv2')
    """

    alpha: int = 4
    beta: int = 2

    def __post_init__(self) -> None:
        check_count("GST", "alpha", self.alpha, 2)
        check_choice("GST", "beta", self.beta, (1, 2))

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Replace the 3x3 convolutions in place and return their names.

        Raises:
            ValueError: no known block, blocks without a dense 3x3 convolution between two 1x1, or channels that
                cannot be split. The backbone is left as it was.
        """
        found = find_spatial(net, owner="GST")
        return write_plan(net, {name: self._split(block, name, conv, num_segments) for block, name, conv in found})

    def _split(self, block: Block, name: str, conv: Any, num_segments: int) -> nn.Module:
        if block.sites.spatial_conv == block.sites.first_conv:
            raise ValueError(
                f"GST: {name} starts a {type(block.module).__name__}, and GST is defined for the 3x3 of bottlenecks "
                "(1x1, 3x3, 1x1) only; use a backbone with them, such as 'resnet50'."
            )
        if conv.in_channels % self.beta or conv.out_channels % self.alpha:
            raise ValueError(
                f"GST: {name}: {conv.in_channels} input and {conv.out_channels} output channels cannot be split by "
                f"beta={self.beta} and alpha={self.alpha}; use other options or a wider backbone."
            )
        new = GroupedSpatialTemporal(
            conv.in_channels,
            conv.out_channels,
            num_segments,
            self.alpha,
            self.beta,
            conv.stride[0],
            conv.dilation[0],
            conv.bias is not None,
        ).to(conv.weight.device, conv.weight.dtype)
        kept = new.spatial
        with torch.no_grad():
            kept.weight.copy_(conv.weight[: kept.out_channels, : kept.in_channels])
            for part, rows in ((new.spatial, slice(kept.out_channels)), (new.temporal, slice(kept.out_channels, None))):
                if part.bias is not None:
                    part.bias.copy_(conv.bias[rows])
        kept.requires_grad_(conv.weight.requires_grad)  # a frozen convolution stays frozen
        return new
