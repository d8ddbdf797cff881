"""Temporal difference model (TDN)."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.resnet import ResNet
from torch import Tensor, nn

from videozoo.layers import TemporalConv, TemporalDifference
from videozoo.nets.base import StageByStage
from videozoo.surgery import PreConv2d, plan_before, write_plan

__all__ = ["TDN", "DifferenceResNet"]


@dataclass(frozen=True)
class TDN:
    """TDN: temporal differences on a ResNet, within a segment in the stem and between segments in the blocks.

    Wang et al., 2021 (arXiv:2012.10071). A clip has five frames per segment. The middle one goes through the backbone.
    The differences of the five go through a path of their own up to stage 1 (:class:`DifferenceResNet`). Blocks of
    stages 2 to 4 gate their features by differences between segments and shift them by a learned temporal convolution.
    As in the authors' code, every convolution has a bias.

    Args:
        main_weight: weight of the middle frame's path where the two paths are added, from 0 to 1. The differences have
            the rest. None: the authors' choice, 0.5 for 8 segments and 0.75 for any other number.
    Raises:
        ValueError: a weight below 0 or above 1.
    Example:
        >>> from videozoo import TDN, compose
        >>> model = compose("resnet18", TDN(), num_classes=10, num_frames=40)  # 8 segments of 5 frames
        >>> model.num_segments
        8
    """

    main_weight: float | None = None
    frames_per_segment = 5

    def __post_init__(self) -> None:
        is_fraction = isinstance(self.main_weight, int | float) and 0 <= self.main_weight <= 1
        if self.main_weight is not None and not is_fraction:
            raise ValueError(f"TDN: main_weight is {self.main_weight!r}; need a share from 0 to 1, or None.")

    def apply(self, net: nn.Module, num_segments: int) -> list[str]:
        """Change the ResNet in place and return the names of the modules that were added or changed.

        Raises:
            ValueError: the backbone is not a ResNet of timm with a plain stem, or was changed before. It is left as it
                was.
        """
        if type(net) is not ResNet or not isinstance(net.conv1, nn.Conv2d):
            raise ValueError(
                f"TDN: needs a timm ResNet with a plain stem (resnet18, resnet50, ...), not {type(net).__name__}."
            )
        if any(isinstance(module, PreConv2d) for module in net.modules()):
            raise ValueError("TDN: the model was changed before; apply TDN first, as every convolution gets a bias.")
        plan = plan_before(
            net,
            lambda conv: nn.Sequential(
                OrderedDict(
                    difference=TemporalDifference(conv.in_channels, num_segments),
                    shift=TemporalConv(conv.in_channels, num_segments),
                )
            ),
            site="second_conv",
            stages=(2, 3, 4),
        )
        without_bias = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d) and m.bias is None]
        changed = write_plan(net, plan)
        for name in without_bias:
            conv: Any = net.get_submodule(name)
            zeros = torch.zeros_like(conv.weight[:, 0, 0, 0])
            conv.bias = nn.Parameter(zeros, conv.weight.requires_grad)  # a frozen convolution stays frozen
        added = DifferenceResNet.take_over(net, num_segments, self.main_weight)
        return [*added, *changed]


class _PooledDifferences(nn.Module):
    """The differences of five frames, average-pooled by two: (N, 5 * C, H, W) -> (N, 4 * C, H // 2, W // 2).

    Differences and pooling are linear, so their order is free. Pooling the rows first, then taking differences, then
    pooling the columns reads each frame once and halves the work of the differences.
    """

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
        rows = x[..., 0:height:2, :width] + x[..., 1:height:2, :width]
        frames = rows.unflatten(1, (5, -1))
        differences = (frames[:, 1:] - frames[:, :-1]).flatten(1, 2)
        return (differences[..., 0::2] + differences[..., 1::2]) / 4


class DifferenceResNet(StageByStage, ResNet):
    """A ResNet whose stem and first stage also look at the differences of the five frames of a segment.

    Short-term module of TDN (section 3.2): the four differences, pooled by two, go through a second stem and a copy of
    stage 1. Both outputs are upsampled (nearest) and fused with the middle frame's map, after the pooling of the stem
    and after stage 1.

    Shape:
        input (B*S, 5 * C, H, W), see ``videozoo.shapes.fold_segments``. Features as the ResNet's.
    """

    num_segments: int
    given_weight: float | None
    diff_stem: nn.Module
    diff_layer1: nn.Module
    frames_multiple = 5
    stage_names = ("layer1", "layer2", "layer3", "layer4")

    @classmethod
    def take_over(cls, net: Any, num_segments: int, main_weight: float | None) -> list[str]:
        """Change the class of ``net`` to this one in place, keep its keys, and return the names of the new modules."""
        conv = net.conv1
        like = {"device": conv.weight.device, "dtype": conv.weight.dtype}
        stem = nn.Conv2d(
            4 * conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False, **like
        )
        with torch.no_grad():  # as the authors: the mean over colors of the trained stem
            stem.weight.copy_(conv.weight.mean(1, keepdim=True).expand_as(stem.weight))
        net.diff_stem = nn.Sequential(
            *(_PooledDifferences(), stem, nn.BatchNorm2d(conv.out_channels, **like), nn.ReLU(inplace=True)),
            deepcopy(net.maxpool),
        ).train(net.training)
        net.diff_layer1 = deepcopy(net.layer1)
        net.num_segments, net.given_weight = num_segments, main_weight
        net.__class__ = cls
        return ["diff_stem", "diff_layer1"]

    @property
    def main_weight(self) -> float:
        """Weight of the middle frame's path, see :class:`TDN`."""
        if self.given_weight is not None:
            return self.given_weight
        return 0.5 if self.num_segments == 8 else 0.75

    def _fuse(self, main: Tensor, difference: Tensor) -> Tensor:
        return torch.lerp(F.interpolate(difference, main.shape[-2:]), main, self.main_weight)

    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stem's map of the middle frame, and the pooled one of the differences."""
        return self.act1(self.bn1(self.conv1(x.unflatten(1, (5, -1))[:, 2]))), self.diff_stem(x)

    def _between(self, index: int, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        main, difference = state
        return (self._fuse(self.maxpool(main), difference), difference) if index == 0 else state

    def _advance(self, stage: nn.Module, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        main, difference = state
        main = self._run(stage, main)
        if stage is self.layer1:
            main = self._fuse(main, self._run(self.diff_layer1, difference))
        return main, difference

    def _map(self, state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        blocks = r"^(?:diff_)?layer(\d+)" if coarse else r"^(?:diff_)?layer(\d+)\.(\d+)"
        return {"stem": r"^conv1|bn1|maxpool|diff_stem", "blocks": blocks}
