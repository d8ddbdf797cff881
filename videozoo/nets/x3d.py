"""X3D: a thin 3-D network of inverted bottlenecks that never strides over time."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates, make_divisible
from torch import Tensor, nn

from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.blocks3d import conv3d
from videozoo.nets.registry import HALF, register_backbone

__all__ = ["X3d", "X3dBlock", "X3dCfg"]

_BASE_WIDTHS, _BASE_DEPTHS = (12, 24, 48, 96), (1, 2, 5, 3)  # of stages 1 to 4, before the factors


@dataclass(frozen=True)
class X3dCfg:
    """One model of the family. The defaults are X3D-XS, -S and -M, which differ in their clips only.

    Args:
        width: factor of the channels of the stem (12) and of the stages (12, 24, 48, 96).
        depth: factor of the blocks of the stages (1, 2, 5, 3).
        bottleneck: channels inside a block for one of its output.
        pooled: channels between the pooling and the classifier.
        has_first_shortcut_norm: a norm in the shortcut of the very first block (the authors' code). PyTorchVideo has
            none where the width stays.
    """

    width: float = 2.0
    depth: float = 2.2
    bottleneck: float = 2.25
    pooled: int = 2048
    has_first_shortcut_norm: bool = True

    @property
    def widths(self) -> list[int]:
        """Output channels of stages 1 to 4. The stem has those of stage 1."""
        return [int(width * self.width + 0.5) for width in _BASE_WIDTHS]

    @property
    def depths(self) -> list[int]:
        """Blocks of stages 1 to 4."""
        return [math.ceil(depth * self.depth) for depth in _BASE_DEPTHS]


class _SqueezeExcite3d(nn.Module):
    """Gate of the channels from their average over time and space: (B, C, T, H, W), in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = make_divisible(channels / 16)
        self.fc1 = nn.Conv3d(channels, hidden, 1)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv3d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(self.act(self.fc1(x.mean((2, 3, 4), keepdim=True))))
        return x * gate.sigmoid()


class X3dBlock(nn.Module):
    """(1, 1, 1), depthwise (3, 3, 3) and (1, 1, 1) convolutions and a shortcut.

    The stride is that of the second. Its norm is followed by the gate, if there is one, and then by SiLU.

    Shape:
        input (B, C, T, H, W), output (B, outputs, T, H / stride, W / stride).
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        stride: int = 1,
        has_gate: bool = True,
        has_shortcut_norm: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = conv3d(inputs, inner, (1, 1))
        self.bn1 = nn.BatchNorm3d(inner)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.se = _SqueezeExcite3d(inner) if has_gate else nn.Identity()
        self.act2 = nn.SiLU(inplace=True)
        self.conv3 = conv3d(inner, outputs, (1, 1))
        self.bn3 = nn.BatchNorm3d(outputs)
        nn.init.zeros_(self.bn3.weight)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(conv3d(inputs, outputs, (1, 1), (1, stride)))
            if has_shortcut_norm:
                self.downsample.append(nn.BatchNorm3d(outputs))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.act3 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.se(self.bn2(self.conv2(x))))
        x = self.bn3(self.conv3(x))
        return self.act3(self.drop_path(x) + shortcut)


class X3d(Backbone):
    """X3D: gated bottlenecks with depthwise 3-D convolutions, and no stride over time.

    Feichtenhofer, 2020 (arXiv:2004.04730), table 1 and section 3. Every second block gates its channels. The
    stem is a convolution over space and a depthwise one over time with nothing between them. Before the classifier, the
    map is widened, pooled, and widened again.

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, T, H / 32, W / 32), pooled ones (B, head_hidden_size).
    """

    is_3d = True
    mixes_time = True
    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        cfg: X3dCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        stem, last = cfg.widths[0], cfg.widths[-1]
        inner = int(last * cfg.bottleneck)
        self.conv1 = conv3d(in_chans, stem, (1, 3), (1, 2))
        self.conv1_temporal = nn.Conv3d(stem, stem, (5, 1, 1), padding=(2, 0, 0), groups=stem, bias=False)
        self.bn1 = nn.BatchNorm3d(stem)
        self.act1 = nn.ReLU(inplace=True)
        self._make_stages(cfg, drop_path_rate)
        self.head_conv = conv3d(last, inner, (1, 1))
        self.head_bn = nn.BatchNorm3d(inner)
        self.head_act = nn.ReLU(inplace=True)
        self.pooled_conv = nn.Conv3d(inner, cfg.pooled, 1, bias=False)
        self.pooled_act = nn.ReLU(inplace=True)
        init_convs(self)
        maps = [(stem, 2), *((width, 4 * 2**i) for i, width in enumerate(cfg.widths))]
        self._finish("act1", maps, num_classes, drop_rate, cfg.pooled)

    def _make_stages(self, cfg: X3dCfg, drop_path_rate: float) -> None:
        rates: Any = calculate_drop_path_rates(drop_path_rate, cfg.depths, stagewise=True)
        inputs = cfg.widths[0]
        for name, width, own in zip(self.stage_names, cfg.widths, rates, strict=True):
            blocks = []
            for index, rate in enumerate(own):
                has_norm = cfg.has_first_shortcut_norm or inputs != width
                stride = 1 if index else 2
                blocks.append(
                    X3dBlock(inputs, int(width * cfg.bottleneck), width, stride, index % 2 == 0, has_norm, rate)
                )
                inputs = width
            setattr(self, name, nn.Sequential(*blocks))

    def _begin(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv1_temporal(self.conv1(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Widen, average over time and space, widen, apply dropout, and classify unless ``pre_logits``."""
        x = self.head_act(self.head_bn(self.head_conv(x))).mean((2, 3, 4), keepdim=True)
        x = self.pooled_act(self.pooled_conv(x)).flatten(1)
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)


_NETWORKS = {
    "x3d_small": (X3dCfg(), "X3D-XS, -S and -M, which are one network on different clips"),
    "x3d_large": (X3dCfg(depth=5.0), "X3D-L"),
    "x3d_extra_large": (X3dCfg(2.9, 5.0), "X3D-XL by its paper: widths of 2.9, no authors' code or weights exist"),
}
for _name, (_cfg, _summary) in _NETWORKS.items():
    register_backbone(_name, partial(X3d, _cfg), f"{_summary}.", first_conv="conv1", **HALF)
    register_backbone(
        f"{_name}_ptv",
        partial(X3d, replace(_cfg, has_first_shortcut_norm=False)),
        f"{_summary}. As in PyTorchVideo: no norm in the very first shortcut.",
        first_conv="conv1",
        **HALF,
    )
