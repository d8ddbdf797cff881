"""ECO: a 2-D network on every frame, then a 3-D one on their maps."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.bninception import SIZE_MULTIPLE, SecondStem, check_size, make_modules
from videozoo.nets.registry import register_backbone
from videozoo.shapes import fold_time, to_clips

__all__ = ["Eco", "EcoBlock3d", "EcoEntry", "EcoRest"]

Run = Callable[[nn.Module, Tensor], Tensor]


class EcoEntry(nn.Module):
    """The part of BN-Inception's module 3c that the 3-D network sees: a 1x1 and a 3x3 convolution.

    Shape:
        input (B, inputs, H, W), output (B, 96, H, W).
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv_double_3x3_reduce, self.bn_double_3x3_reduce = nn.Conv2d(inputs, 64, 1), nn.BatchNorm2d(64)
        self.conv_double_3x3_1, self.bn_double_3x3_1 = nn.Conv2d(64, 96, 3, padding=1), nn.BatchNorm2d(96)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn_double_3x3_reduce(self.conv_double_3x3_reduce(x)))
        return self.act(self.bn_double_3x3_1(self.conv_double_3x3_1(x)))


class EcoRest(nn.Module):
    """What :class:`EcoEntry` leaves of BN-Inception's module 3c, which halves the resolution.

    Shape:
        input (B, inputs, H, W) and the map of ``EcoEntry`` (B, 96, H, W), output (B, 256 + inputs, H / 2, W / 2).
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv_3x3_reduce, self.bn_3x3_reduce = nn.Conv2d(inputs, 128, 1), nn.BatchNorm2d(128)
        self.conv_3x3, self.bn_3x3 = nn.Conv2d(128, 160, 3, 2, 1), nn.BatchNorm2d(160)
        self.conv_double_3x3_2, self.bn_double_3x3_2 = nn.Conv2d(96, 96, 3, 2, 1), nn.BatchNorm2d(96)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        y = self.act(self.bn_3x3_reduce(self.conv_3x3_reduce(x)))
        y = self.act(self.bn_3x3(self.conv_3x3(y)))
        seen = self.act(self.bn_double_3x3_2(self.conv_double_3x3_2(seen)))
        return torch.cat((y, seen, self.pool(x)), 1)


class EcoBlock3d(nn.Module):
    """Two 3x3x3 convolutions, each behind a norm and a ReLU, and a shortcut: a block before its activation.

    With a stride the shortcut is a 3x3x3 convolution of the activated input.

    Shape:
        input (B, inputs, T, H, W), output (B, outputs, T / stride, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        self.bn1, self.act1 = nn.BatchNorm3d(inputs), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, 1)
        self.bn2, self.act2 = nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, 1, 1)
        self.downsample = nn.Conv3d(inputs, outputs, 3, stride, 1) if stride > 1 else None
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(y)
        y = self.conv2(self.act2(self.bn2(self.conv1(y))))
        return shortcut + self.drop_path(y)


class _FirstStage(nn.Module):
    """The first 3-D stage: folded frames become clips. In ECO full the frames and what the clips see of them go on."""

    def __init__(self, inputs: int, clips: nn.Sequential, is_full: bool) -> None:
        super().__init__()
        self.is_full = is_full
        self.inception_3c, self.clips = EcoEntry(inputs), clips

    def forward(self, frames: Tensor, num_frames: int, run: Run) -> tuple[Tensor, ...]:
        seen = self.inception_3c(frames)
        clips = run(self.clips, to_clips(seen, num_frames))
        return (frames, seen, clips) if self.is_full else (clips,)


class _LaterStage(nn.Module):
    """Another 3-D stage, in ECO full with modules of BN-Inception beside it."""

    def __init__(self, clips: nn.Sequential, frames: nn.Sequential | None, rest: EcoRest | None) -> None:
        super().__init__()
        self.inception_3c, self.frames, self.clips = rest, frames, clips

    def forward(self, maps: tuple[Tensor, ...], run: Run) -> tuple[Tensor, ...]:
        *frames, clips = maps
        if self.frames is None:
            return (run(self.clips, clips),)
        x = frames[0] if self.inception_3c is None else self.inception_3c(*frames)
        return run(self.frames, x), run(self.clips, clips)


class Eco(Backbone):
    """ECO: BN-Inception up to module 3c on every frame, then a 3-D ResNet-18 without its first stage.

    Zolfaghari et al., 2018 (arXiv:1804.09066). ECO full also goes on with the rest of BN-Inception on every frame. From
    there on a feature map is both networks' side by side, that of the frames averaged over time to the steps of the
    clip's. So the global average is the concatenation of both averages, which is what the classifier takes. The
    authors' two dropouts before it are one, ``drop_rate``.

    Args:
        is_full: ECO full instead of ECO Lite.
        widths: channels of the three 3-D stages.
        num_classes, in_chans, drop_rate: as in :class:`~videozoo.nets.resnet3d.ResNet3d`.
        drop_path_rate: stochastic depth of the 3-D blocks.
    Shape:
        input (B, C, T, H, W), T a multiple of 4. Features (B, num_features, T / 4, H / 32, W / 32).
    Raises:
        ValueError: frames of a size that ECO full cannot take (:func:`~videozoo.nets.bninception.check_size`).
    """

    is_3d = True
    mixes_time = True
    stage_names = ("stage1", "stage2", "stage3", "stage4", "stage5")
    block_pattern = r"^stage(\d+)\."

    def __init__(
        self,
        is_full: bool,
        widths: tuple[int, int, int] = (128, 256, 512),
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.stage1 = SecondStem()
        self.stage2, fine = make_modules(192, "3a", "3b")
        clips = _clip_stages(widths, drop_path_rate)
        middle, coarse, rest, channels = None, None, None, [0, 0, 0]
        if is_full:
            rest = EcoRest(fine)
            middle, halved = make_modules(fine + 256, "4a", "4b", "4c", "4d")
            coarse, last = make_modules(halved, "4e", "5a", "5b")
            channels = [fine, halved, last]
        self.stage3 = _FirstStage(fine, clips[0], is_full)
        self.stage4 = _LaterStage(clips[1], middle, rest)
        self.stage5 = _LaterStage(clips[2], coarse, None)
        init_convs(self)
        maps = [(64, 2), (192, 4), (fine, 8)]
        maps += [(a + b, 8 * 2**i) for i, (a, b) in enumerate(zip(channels, widths, strict=True))]
        self._finish("act1", maps, num_classes, drop_rate)
        self.size_multiple = SIZE_MULTIPLE if is_full else 1
        self.frames_multiple = 4  # the last map has a step for each four frames

    # A state is the number of frames, and the map of folded frames. From the 3-D stages on it is a tuple of maps, those
    # of clips last.

    def _begin(self, x: Tensor) -> tuple[int, Any]:
        if self.size_multiple > 1:
            check_size("eco_full_bninception", x)
        return x.shape[2], self.act1(self.bn1(self.conv1(fold_time(x))))

    def _between(self, index: int, state: tuple[int, Any]) -> tuple[int, Any]:
        num_frames, maps = state
        return num_frames, self.pool(maps) if index < 2 else maps

    def _advance(self, stage: nn.Module, state: tuple[int, Any]) -> tuple[int, Any]:
        num_frames, maps = state
        if isinstance(stage, _FirstStage):
            return num_frames, stage(maps, num_frames, self._run)
        return num_frames, stage(maps, self._run) if isinstance(stage, _LaterStage) else self._run(stage, maps)

    def _map(self, state: tuple[int, Any]) -> Tensor:
        num_frames, maps = state
        if not isinstance(maps, tuple):
            return to_clips(maps, num_frames)
        if len(maps) == 1:
            return maps[0]
        frames, clips = to_clips(maps[0], num_frames), maps[-1]
        return torch.cat((F.avg_pool3d(frames, (num_frames // clips.shape[2], 1, 1)), clips), 1)


def _clip_stages(widths: tuple[int, int, int], drop_path_rate: float) -> list[nn.Sequential]:
    """Return the three stages of the 3-D network, the last one with the norm behind it."""
    a, b, c = widths
    rates: Any = calculate_drop_path_rates(drop_path_rate, 5)
    stages: list[dict[str, nn.Module]] = [
        {"conv": nn.Conv3d(96, a, 3, padding=1), "b": EcoBlock3d(a, a, 1, rates[0])},
        {"a": EcoBlock3d(a, b, 2, rates[1]), "b": EcoBlock3d(b, b, 1, rates[2])},
        {"a": EcoBlock3d(b, c, 2, rates[3]), "b": EcoBlock3d(c, c, 1, rates[4])},
    ]
    stages[2] |= {"norm": nn.BatchNorm3d(c), "act": nn.ReLU()}  # in place, checkpointing would lose the norm's output
    return [nn.Sequential(OrderedDict(stage)) for stage in stages]


for _name, _is_full in (("lite", False), ("full", True)):
    register_backbone(
        f"eco_{_name}_bninception", partial(Eco, _is_full), f"ECO {_name} on BN-Inception.", first_conv="conv1"
    )
