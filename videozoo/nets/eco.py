"""ECO: a 2-D network on every frame, then a 3-D one on their maps."""

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates
from torch import Tensor, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.bninception import MODULES, Inception, SecondStem, make_modules
from videozoo.nets.registry import register_backbone
from videozoo.shapes import fold_time, to_clips

__all__ = ["Eco", "EcoBlock3d", "EcoEntry"]

_FRAMES = 4  # of a clip, for each step of the last 3-D map


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


class _Stage(nn.Module):
    """A stage of the 3-D network, and the modules beside it that go on with the frames (ECO full).

    The first one also holds BN-Inception's module 3c, or its part, in which the two networks part.
    """

    def __init__(self, clips: dict[str, nn.Module], frames: nn.Sequential | None, entry: nn.Module | None) -> None:
        super().__init__()
        self.inception_3c = entry
        self.clips, self.frames = nn.Sequential(), frames
        for name, module in clips.items():
            self.clips.add_module(name, module)


class _State(NamedTuple):
    """The maps of frames (B*T, C, H, W) and of clips (B, C, T, H, W), where there are any."""

    num_frames: int
    frames: Tensor | None
    clips: Tensor | None = None


class Eco(Backbone):
    """ECO: BN-Inception up to module 3c on every frame, then a 3-D ResNet-18 without its first stage.

    Zolfaghari et al., 2018 (arXiv:1804.09066). ECO full also goes on with the rest of BN-Inception on every frame. Its
    features are those of the frames, averaged over each four, then those of the clip, so that their global average is
    the concatenation of both averages. The authors' two dropouts before the classifier are one, ``drop_rate``.

    Args:
        is_full: ECO full instead of ECO Lite.
        widths: channels of the three 3-D stages.
        num_classes, in_chans, drop_rate: as in :class:`~videozoo.nets.resnet3d.ResNet3d`.
        drop_path_rate: stochastic depth of the 3-D blocks.
    Shape:
        input (B, C, T, H, W), T a multiple of 4, H and W of 32. Features (B, num_features, T / 4, H / 32, W / 32).
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
        self.stage2, channels = make_modules(192, "3a", "3b")
        entry: nn.Module = Inception(channels, MODULES["3c"]) if is_full else EcoEntry(channels)
        middle, coarse, last = None, None, 0
        if is_full:
            middle, last = make_modules(MODULES["3c"].outputs(channels), "4a", "4b", "4c", "4d")
            coarse, last = make_modules(last, "4e", "5a", "5b")
        a, b, c = widths
        rates: Any = calculate_drop_path_rates(drop_path_rate, 5)
        first = {"conv": nn.Conv3d(96, a, 3, padding=1), "b": EcoBlock3d(a, a, 1, rates[0])}
        self.stage3 = _Stage(first, middle, entry)
        self.stage4 = _Stage(_pair(a, b, rates[1:3]), coarse, None)
        end = {"norm": nn.BatchNorm3d(c), "act": nn.ReLU()}  # in place, checkpointing would lose the norm's output
        self.stage5 = _Stage({**_pair(b, c, rates[3:]), **end}, None, None)
        init_convs(self)
        maps = [(64, 2), (192, 4), (channels, 8), (a, 8), (b, 16), (last + c, 32)]
        self._finish("act1", maps, num_classes, drop_rate)
        self.frames_multiple = _FRAMES

    def _begin(self, x: Tensor) -> _State:
        return _State(x.shape[2], self.act1(self.bn1(self.conv1(fold_time(x)))))

    def _between(self, index: int, state: _State) -> _State:
        return state if index > 1 or state.frames is None else state._replace(frames=self.pool(state.frames))

    def _advance(self, stage: nn.Module, state: _State) -> _State:
        frames, clips = state.frames, state.clips
        if not isinstance(stage, _Stage):
            return state._replace(frames=self._run(stage, frames))
        entry = stage.inception_3c
        if isinstance(entry, Inception):
            seen = entry.first_double(frames)
            frames, clips = entry.finish(frames, seen), to_clips(seen, state.num_frames)
        elif entry is not None:
            frames, clips = None, to_clips(entry(frames), state.num_frames)
        if stage.frames is not None:
            frames = self._run(stage.frames, frames)
        clips = self._run(stage.clips, clips)
        if stage is self.stage5 and frames is not None:
            pooled = F.avg_pool3d(to_clips(frames, state.num_frames), (_FRAMES, 1, 1))
            clips = torch.cat((pooled, clips), 1)
        return state._replace(frames=frames, clips=clips)

    def _map(self, state: _State) -> Tensor:
        return to_clips(state.frames, state.num_frames) if state.clips is None else state.clips


def _pair(inputs: int, outputs: int, drop_paths: list[float]) -> dict[str, nn.Module]:
    return {
        "a": EcoBlock3d(inputs, outputs, 2, drop_paths[0]),
        "b": EcoBlock3d(outputs, outputs, 1, drop_paths[1]),
    }


for _name, _is_full in (("lite", False), ("full", True)):
    register_backbone(
        f"eco_{_name}_bninception", partial(Eco, _is_full), f"ECO {_name} on BN-Inception.", first_conv="conv1"
    )
