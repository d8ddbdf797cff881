"""3-D Inception networks: I3D, S3D and S3D-G."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.blocks3d import Conv2plus1d, conv3d
from videozoo.nets.registry import register_backbone

__all__ = ["Inception3d", "Inception3dCfg", "InceptionNet3d", "SelfGate", "SeparableInception3d"]

Widths = tuple[int, int, int, int, int, int]  # of branches 0, 1a, 1b, 2a, 2b and 3
Stages = tuple[tuple[Widths, ...], ...]
Triple = tuple[int, int, int]

# GoogLeNet's modules 3b and 3c, 4b to 4f, 5b and 5c.
_STAGES: Stages = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
# Kernels and strides of the max pools before each stage.
_POOLS: tuple[tuple[Triple, Triple], ...] = (
    ((1, 3, 3), (1, 2, 2)),
    ((1, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (2, 2, 2)),
    ((2, 2, 2), (2, 2, 2)),
)


@dataclass(frozen=True)
class Inception3dCfg:
    """One model of the family.

    Args:
        stem: ``"full"`` is a 7x7x7 convolution, ``"separable"`` 1x7x7 and 7x1x1, ``"thin"`` 3x7x7, and ``"folded"``
            2x4x4 on blocks of 2x2x2 pixels whose values are channels. All have stride 2.
        is_separable: every 3x3x3 convolution is 1x3x3, norm, ReLU and 3x1x1.
        is_gated: gates after the last convolution before the modules, and after every branch.
        padding: of the pools, and of the stem for ``"same"``. ``"symmetric"`` is PyTorch's, ``"same"`` TensorFlow's,
            which depends on the size of the input, and ``"end"`` adds zeros at the end whatever the size is.
        are_ends_halved: the first and the last frame of the last map count half in the mean over time, because it
            averages the logits of pairs of neighbors.
        eps: of the norms.
        stem_widths: channels of the stem's three convolutions.
        stages: channels of the branches.
    """

    stem: Literal["full", "separable", "thin", "folded"] = "full"
    is_separable: bool = False
    is_gated: bool = False
    padding: Literal["symmetric", "same", "end"] = "same"
    are_ends_halved: bool = True
    eps: float = 1e-3
    stem_widths: Triple = (64, 64, 192)
    stages: Stages = _STAGES


def pad_same_3d(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Pad clips (B, C, T, H, W) with zeros as TensorFlow's "same", so that ceil(size / stride) positions fit.

    No stride is larger than its kernel.
    """
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = k - s + -size % s  # no comparison, which would fix the size when a model is exported
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def mean_of_pairs(x: Tensor) -> Tensor:
    """Return the mean over the averages of neighboring frames: (B, C, T) -> (B, C)."""
    return x[:, :, 0] if x.shape[2] == 1 else (x[:, :, 1:] + x[:, :, :-1]).mean(2) / 2


fx.wrap("pad_same_3d")
fx.wrap("mean_of_pairs")


class SelfGate(nn.Module):
    """Scale channels by a gate that sees the mean of the clip: y = x sigmoid(W mean(x) + b).

    Xie et al., 2018 (arXiv:1712.04851), section 6.

    Shape:
        input (B, C, T, H, W), output the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3, 4))))[:, :, None, None, None]


class Inception3d(nn.Module):
    """Four branches side by side: 1x1x1; 1x1x1 and 3x3x3, twice; and max pooling with 1x1x1.

    Every convolution is followed by a norm and a ReLU. The outputs are concatenated in this order.

    Shape:
        input (B, C, T, H, W), output (B, sum of the branches' widths, T, H, W).
    """

    gate_0: nn.Module
    gate_1: nn.Module
    gate_2: nn.Module
    gate_3: nn.Module

    def __init__(self, inputs: int, widths: Widths, cfg: Inception3dCfg) -> None:
        super().__init__()
        one, two_a, two_b, three_a, three_b, four = widths
        norm = partial(nn.BatchNorm3d, eps=cfg.eps)
        self.conv_0, self.bn_0 = conv3d(inputs, one, (1, 1)), norm(one)
        self.conv_1a, self.bn_1a = conv3d(inputs, two_a, (1, 1)), norm(two_a)
        self.conv_1b, self.bn_1b = _conv3x3x3(two_a, two_b, cfg), norm(two_b)
        self.conv_2a, self.bn_2a = conv3d(inputs, three_a, (1, 1)), norm(three_a)
        self.conv_2b, self.bn_2b = _conv3x3x3(three_a, three_b, cfg), norm(three_b)
        self.pool = nn.MaxPool3d(3, 1, 1)
        self.conv_3, self.bn_3 = conv3d(inputs, four, (1, 1)), norm(four)
        self.act = nn.ReLU(inplace=True)
        for branch, width in enumerate((one, two_b, three_b, four)):
            self.add_module(f"gate_{branch}", SelfGate(width) if cfg.is_gated else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        act = self.act
        one = act(self.bn_0(self.conv_0(x)))
        two = act(self.bn_1b(self.conv_1b(act(self.bn_1a(self.conv_1a(x))))))
        three = act(self.bn_2b(self.conv_2b(act(self.bn_2a(self.conv_2a(x))))))
        four = act(self.bn_3(self.conv_3(self.pool(x))))
        return torch.cat([self.gate_0(one), self.gate_1(two), self.gate_2(three), self.gate_3(four)], 1)


class SeparableInception3d(Inception3d):
    """:class:`Inception3d` whose 3x3x3 convolutions are factorized over space and time."""


def _conv3x3x3(inputs: int, outputs: int, cfg: Inception3dCfg) -> nn.Module:
    if cfg.is_separable:
        return Conv2plus1d(inputs, outputs, (3, 3), middle=outputs, eps=cfg.eps)
    return conv3d(inputs, outputs, (3, 3))


class _SecondStem3d(nn.Module):
    """The 1x1x1 and the 3x3x3 convolution before the first module, and S3D-G's gate."""

    def __init__(self, cfg: Inception3dCfg) -> None:
        super().__init__()
        inputs, middle, outputs = cfg.stem_widths
        self.conv_2b, self.bn_2b = conv3d(inputs, middle, (1, 1)), nn.BatchNorm3d(middle, cfg.eps)
        self.conv_2c, self.bn_2c = _conv3x3x3(middle, outputs, cfg), nn.BatchNorm3d(outputs, cfg.eps)
        self.act = nn.ReLU(inplace=True)
        self.gate: nn.Module = SelfGate(outputs) if cfg.is_gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn_2b(self.conv_2b(x)))
        return self.gate(self.act(self.bn_2c(self.conv_2c(x))))


class InceptionNet3d(Backbone):
    """Inception-v1 on clips: I3D (Carreira and Zisserman, 2017, arXiv:1705.07750), S3D and S3D-G.

    S3D and S3D-G: Xie et al., 2018 (arXiv:1712.04851). The norms have PyTorch's momentum 0.1. Those of the other code
    bases have 0.01 or 0.001, which matters in training only. The mean over space is that of the whole map, as in I3D
    and torchvision's S3D on maps of 7x7. On larger ones these average windows of 7x7.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: for timm's signature. There are no residual branches to drop, so only 0.
    Shape:
        input (B, C, T, H, W). Features (B, 1024, T / 8, H / 32, W / 32).
    Raises:
        ValueError: a ``drop_path_rate`` other than 0, or a clip that is too small.
    """

    is_3d = True
    mixes_time = True
    stage_names = ("stage1", "stage2", "stage3", "stage4")
    block_pattern = r"^stage(\d+)\."

    def __init__(
        self,
        cfg: Inception3dCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if drop_path_rate:
            raise ValueError(
                f"InceptionNet3d: drop_path_rate is {drop_path_rate}, but it has no residual branches; pass 0."
            )
        self.cfg = cfg
        width = cfg.stem_widths[0]
        self.conv1: Any = _stem_conv(in_chans, width, cfg)
        self.bn1 = nn.BatchNorm3d(width, cfg.eps)
        self.act1 = nn.ReLU(inplace=True)
        self.stage1 = _SecondStem3d(cfg)
        channels = cfg.stem_widths[2]
        maps = [(width, 2), (channels, 4)]
        block = SeparableInception3d if cfg.is_separable else Inception3d
        for number, (name, rows) in enumerate(zip(self.stage_names[1:], cfg.stages, strict=True), 3):
            stage = nn.Sequential()
            for letter, widths in zip("bcdef", rows, strict=False):
                stage.add_module(f"inception_{number}{letter}", block(channels, widths, cfg))
                channels = widths[0] + widths[2] + widths[4] + widths[5]
            self.add_module(name, stage)
            maps.append((channels, 2 * maps[-1][1]))
        init_convs(self)
        self._finish("act1", maps, num_classes, drop_rate)
        self.frames_multiple = 2 if cfg.stem == "folded" else 1
        self.least_frames = 5 if cfg.padding == "symmetric" else self.frames_multiple

    def _begin(self, x: Tensor) -> Tensor:
        if self.cfg.padding == "same":
            x = pad_same_3d(x, self.conv1.kernel_size, self.conv1.stride)
        elif self.cfg.stem == "folded":
            x = F.pad(_fold_blocks(x), (1, 2, 1, 2, 0, 1))
        return self.act1(self.bn1(self.conv1(x)))

    def _between(self, index: int, state: Tensor) -> Tensor:
        kernel, stride = _POOLS[index]
        if self.cfg.padding == "same":
            return F.max_pool3d(pad_same_3d(state, kernel, stride), kernel, stride)
        if self.cfg.padding == "end":  # the maps are not negative, so zeros change no maximum
            pads = [pad for k, s in zip(kernel[::-1], stride[::-1], strict=True) for pad in (0, k - s)]
            return F.max_pool3d(F.pad(state, pads), kernel, stride, ceil_mode=True)
        if index == 3 and not isinstance(state, fx.Proxy) and min(state.shape[2:]) < 2:
            raise ValueError(
                f"InceptionNet3d: the map before stage 4 is {tuple(state.shape[2:])} and cannot be halved; need clips "
                "of 5 frames or more and of 17 pixels or more."
            )
        return F.max_pool3d(state, kernel, stride, [(k - 1) // 2 for k in kernel])

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Average over space and time, apply dropout, and classify unless ``pre_logits``."""
        x = x.mean((3, 4))
        x = mean_of_pairs(x) if self.cfg.are_ends_halved else x.mean(2)
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)


def _stem_conv(in_chans: int, width: int, cfg: Inception3dCfg) -> nn.Module:
    """Return the first convolution. It has no padding of its own where the forward pads its input."""
    if cfg.stem == "separable":
        return Conv2plus1d(in_chans, width, (7, 7), (2, 2), middle=width, eps=cfg.eps)
    if cfg.stem == "folded":
        return nn.Conv3d(8 * in_chans, width, (2, 4, 4), bias=False)
    if cfg.padding == "same":
        return nn.Conv3d(in_chans, width, 7, 2, bias=False)
    return conv3d(in_chans, width, (3 if cfg.stem == "thin" else 7, 7), (2, 2))


def _fold_blocks(x: Tensor) -> Tensor:
    """Turn blocks of 2x2x2 pixels into channels: (B, C, T, H, W) -> (B, 8 C, T / 2, H / 2, W / 2)."""
    x = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, T/2, 2, H/2, 2, W/2, 2)
    return x.permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 4)


def _register(name: str, cfg: Inception3dCfg, summary: str) -> None:
    first = "conv1.spatial" if cfg.stem == "separable" else "conv1"
    register_backbone(name, partial(InceptionNet3d, cfg), summary, first_conv=first)


_S3D = Inception3dCfg("separable", is_separable=True, padding="symmetric")
_S3DG = Inception3dCfg("thin", True, True, "end", are_ends_halved=False, eps=1e-5)
_register("i3d_inception_v1", Inception3dCfg(), "I3D: Inception-v1 with 3-D convolutions.")
_register("s3d_inception_v1", _S3D, "S3D: Inception-v1 with separable 3-D convolutions.")
_register("s3dg_inception_v1", _S3DG, "S3D-G: S3D with gates and a 3x7x7 stem.")
_register(
    "s3dg_inception_v1_folded",
    Inception3dCfg("folded", True, True, "end", are_ends_halved=False, eps=1e-5),
    "S3D-G whose stem sees blocks of 2x2x2 pixels, as the weights of HowTo100M need.",
)
