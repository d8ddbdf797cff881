"""MoViNet: small 3-D networks of inverted bottlenecks, on clips and on streams."""

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates, make_divisible
from torch import Tensor, nn

from videozoo.layers.causal import MeanSinceStart, PastFrames
from videozoo.nets.base import Backbone, init_convs
from videozoo.nets.movinet_cfg import KERNELS, NETWORKS, MoViNetCfg
from videozoo.nets.registry import register_backbone
from videozoo.shapes import clip_frame_means, per_clip_frame

__all__ = ["MoViNet", "MoViNetBlock", "MoViNetCfg"]

_STRIDES = (2, 2, 2, 1, 2)
_POOLED = 2048
_EPS = 1e-3


class _SamePad(nn.Module):
    """TensorFlow's "same" padding over space, for an odd kernel and stride 2: one less on the left if the size is even.

    Written without conditions, so that exported models take any size.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        more = (self.kernel - 1) // 2
        height, width = x.shape[-2:]
        return F.pad(x, (more - 1 + width % 2, more, more - 1 + height % 2, more))


class _SamePool(nn.Module):
    """Average pooling (1, 3, 3) with stride 2 and TensorFlow's padding, which does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = _SamePad(3)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.pad(x.new_ones(1, 1, *x.shape[-2:]))
        return F.avg_pool3d(self.pad(x), (1, 3, 3), (1, 2, 2)) / F.avg_pool2d(inside, 3, 2)[:, :, None]


class _ClipMean(nn.Module):
    """Average of a clip: (B, C, T, H, W) -> (B, C, 1, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4), keepdim=True)


class _RunningMeans(nn.Module):
    """Average of all frames so far, and of each frame: (B, C, T, H, W) -> (B, 2C, T, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanSinceStart()

    def forward(self, x: Tensor) -> Tensor:
        frames = clip_frame_means(x)
        return per_clip_frame(torch.cat((self.mean(frames), frames), -1))


class _HardSigmoid(nn.Module):
    """TensorFlow's: from 0 at -2.5 to 1 at 2.5."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


def _act(is_causal: bool) -> nn.Module:
    return nn.Hardswish(inplace=True) if is_causal else nn.SiLU(inplace=True)


class _SqueezeExcite(nn.Module):
    """Gate of the channels, one for a clip or, on streams, one for every frame: (B, C, T, H, W), in and out."""

    def __init__(self, channels: int, is_causal: bool) -> None:
        super().__init__()
        times = 2 if is_causal else 1
        hidden = make_divisible(channels // 4 * times, 8)
        self.pool = _RunningMeans() if is_causal else _ClipMean()
        self.fc1 = nn.Conv3d(times * channels, hidden, 1)
        self.act = _act(is_causal)
        self.fc2 = nn.Conv3d(hidden, channels, 1)
        self.gate = _HardSigmoid() if is_causal else nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))


def _unit(
    inputs: int,
    outputs: int,
    is_causal: bool,
    kernel: tuple[int, int] = (1, 1),
    stride: int = 1,
    groups: int = 1,
    has_act: bool = True,
) -> nn.Sequential:
    """Return padding, convolution, norm and activation. The kernel is (time, space), the stride over space."""
    kt, ks = kernel
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if stride > 1:
        parts["pad"] = _SamePad(ks)
    if is_causal and kt > 1:
        parts["past"] = PastFrames(kt - 1)
    pad_time, pad_space = 0 if is_causal else kt // 2, 0 if stride > 1 else ks // 2
    padding = (pad_time, pad_space, pad_space)
    parts["conv"] = nn.Conv3d(inputs, outputs, (kt, ks, ks), (1, stride, stride), padding, groups=groups, bias=False)
    parts["bn"] = nn.BatchNorm3d(outputs, _EPS)
    if has_act:
        parts["act"] = _act(is_causal)
    return nn.Sequential(parts)


class MoViNetBlock(nn.Module):
    """Inverted bottleneck: 1x1 convolution, depthwise convolution, gate, 1x1 convolution, and a shortcut.

    The branch is scaled by a learned number that starts at zero. On streams the depthwise convolution is one over
    space, then one over time.

    Shape:
        input (B, C, T, H, W), output (B, outputs, T, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int = 1,
        is_causal: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        kt, ks = kernel
        self.expand = _unit(inputs, inner, is_causal)
        own = (1, ks) if is_causal else kernel
        self.depthwise = _unit(inner, inner, is_causal, own, stride, inner)
        has_temporal = is_causal and kt > 1
        self.temporal = _unit(inner, inner, is_causal, (kt, 1), groups=inner) if has_temporal else nn.Identity()
        self.se = _SqueezeExcite(inner, is_causal)
        self.project = _unit(inner, outputs, is_causal, has_act=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = _unit(inputs, outputs, is_causal, has_act=False)
        self.pool = _SamePool() if stride > 1 else nn.Identity()
        self.alpha = nn.Parameter(torch.zeros(()))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.se(self.temporal(self.depthwise(self.expand(x)))))
        return self.shortcut(self.pool(x)) + self.alpha * self.drop_path(y)


class MoViNet(Backbone):
    """A network found by search for phones, for clips or, as ``is_causal``, for streams.

    Kondratyuk et al., 2021 (arXiv:2103.11511), as in the TensorFlow models of its authors: "same" padding, learned
    scales of the branches, and a causal form with other activations.

    The causal network computes the same on a clip as on its frames or parts of it one after the other
    (``videozoo.models.streaming``).

    Args:
        cfg: which model.
        num_classes: classes of its own classifier. 0 for none.
        in_chans: channels of a frame.
        drop_rate: dropout before the classifier. The authors train with 0.2.
        drop_path_rate: stochastic depth.
    Shape:
        input (B, C, T, H, W). Features (B, num_features, T, H / 32, W / 32), pooled ones (B, 2048).
    """

    is_3d = True
    mixes_time = True
    stage_names = ("layer1", "layer2", "layer3", "layer4", "layer5")
    stem_pattern = r"^stem"

    def __init__(
        self,
        cfg: MoViNetCfg,
        num_classes: int = 0,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.is_causal = cfg.is_causal
        self.stem = _unit(in_chans, cfg.stem, cfg.is_causal, (1, 3), 2)
        rates: Any = calculate_drop_path_rates(drop_path_rate, [len(kinds) for *_, kinds in cfg.stages], stagewise=True)
        inputs, reduction, maps = cfg.stem, 2, [(cfg.stem, 2)]
        rows = zip(self.stage_names, cfg.stages, _STRIDES, rates, strict=True)
        for name, (width, inner, kinds), stride, own in rows:
            blocks = []
            for index, kind in enumerate(kinds):
                step = 1 if index else stride
                blocks.append(MoViNetBlock(inputs, inner[index], width, KERNELS[kind], step, cfg.is_causal, own[index]))
                inputs = width
            setattr(self, name, nn.Sequential(*blocks))
            reduction *= stride
            maps.append((width, reduction))
        self.head = _unit(inputs, cfg.head, cfg.is_causal)
        self.mean = MeanSinceStart() if cfg.is_causal else nn.Identity()
        self.pooled = nn.Linear(cfg.head, _POOLED)
        self.pooled_act = nn.SiLU(inplace=True)
        init_convs(self)
        self._finish("stem", maps, num_classes, drop_rate, _POOLED)

    def _begin(self, x: Tensor) -> Tensor:
        return self.stem(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Widen, average over time and space, widen, apply dropout, and classify unless ``pre_logits``."""
        x = self.head(x)
        x = self.mean(clip_frame_means(x))[:, -1] if self.is_causal else x.mean((2, 3, 4))
        x = F.dropout(self.pooled_act(self.pooled(x)), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)


_SIZES = {"a0": 172, "a1": 172, "a2": 224, "a3": 256, "a4": 290, "a5": 320}
for _name, _cfg in NETWORKS.items():
    for _kind, _own in (("base", _cfg), ("causal", replace(_cfg, is_causal=True))):
        register_backbone(
            f"movinet_{_name}_{_kind}",
            partial(MoViNet, _own),
            f"MoViNet-{_name.upper()}, {'for streams' if _own.is_causal else 'for clips'}.",
            first_conv="stem.conv",
            input_size=(3, _SIZES[_name], _SIZES[_name]),
            mean=(0.0, 0.0, 0.0),  # the authors' frames are from 0 to 1
            std=(1.0, 1.0, 1.0),
        )
