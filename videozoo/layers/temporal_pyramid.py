"""Temporal pyramid of TPN, and its auxiliary head."""

import math

import torch
from torch import Tensor, nn
from torch.fx import Proxy

__all__ = ["AuxiliaryHead", "TemporalPyramid"]


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], groups: int = 1, stride: int = 1) -> nn.Conv3d:
    """Return a convolution without bias. The kernel is (time, space), padding keeps the size, the stride is spatial."""
    kt, ks = kernel
    return nn.Conv3d(
        inputs, outputs, (kt, ks, ks), (1, stride, stride), (kt // 2, ks // 2, ks // 2), bias=False, groups=groups
    )


def _with_norm(conv: nn.Conv3d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm3d(conv.out_channels), nn.ReLU(inplace=True))


def _init_convs(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)


def _pool_time(x: Tensor, steps: int = 1) -> Tensor:
    """Take the maximum over runs of time steps: (B, C, T, H, W) -> (B, C, steps, H, W)."""
    if steps == 1:
        return x.amax(2, keepdim=True)
    parts = x.tensor_split(steps, 2)  # the longer runs come first, as where a pooling rounds up
    return torch.cat([parts[k].amax(2, keepdim=True) for k in range(steps)], 2)


class _LevelFusion(nn.Module):
    """One pyramid: a grouped pointwise convolution for each level, then one for both.

    Shape:
        shallow (B, C, S, H, W) and deep (B, C, 1, H, W), output (B, 2 C, 1, H, W).
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_with_norm(_conv(channels, channels, (1, 1), groups)) for _ in range(2))
        self.fuse = _with_norm(_conv(2 * channels, 2 * channels, (1, 1)))

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        return self.fuse(torch.cat((self.levels[0](_pool_time(shallow)), self.levels[1](deep)), 1))


class TemporalPyramid(nn.Module):
    """Neck that fuses the feature maps of the last two stages at several temporal rates.

    Yang et al., 2020 (arXiv:2004.03548), section 3, as in the authors' code. Spatial modulation brings the shallow
    map to the size and the channels of the deep one. Temporal modulation is a grouped convolution over time with a
    maximum over time. A top-down pyramid adds the deep level to the shallow one, and a bottom-up pyramid adds the
    shallow level to the deep one. Both are fused. The convolutions have 32 groups, or as many of them as the channels
    allow.

    Args:
        channels: of the shallow and of the deep map. The second is even.
        num_segments: time steps of the model, at least ``shallow_steps``.
        flow: ``"cascade"``: the bottom-up pyramid starts from the levels that the top-down one has changed, as in the
            authors' code. ``"parallel"``: it starts from the unchanged levels, as the paper draws it.
        shallow_steps: time steps that the shallow level keeps until the fusion.
    Shape:
        shallow (B, C1, T, 2 H, 2 W) and deep (B, C2, T', H, W), output (B, C2, 1, H, W).
    Raises:
        ValueError: maps whose sizes do not fit.
    """

    mixes_time = True

    def __init__(
        self, channels: tuple[int, int], num_segments: int, flow: str = "cascade", shallow_steps: int = 1
    ) -> None:
        super().__init__()
        self.num_segments, self.min_segments = num_segments, shallow_steps
        self.is_cascade, self.shallow_steps = flow == "cascade", shallow_steps
        shallow, deep = channels
        inner = deep // 2
        groups = math.gcd(32, inner)
        self.spatial = _with_norm(_conv(shallow, deep, (1, 3), stride=2))
        self.temporal = nn.ModuleList(_conv(deep, inner, (3, 1), groups) for _ in range(2))
        self.downsample = _conv(inner, inner, (3, 1))
        self.top_down, self.bottom_up = _LevelFusion(inner, groups), _LevelFusion(inner, groups)
        self.fuse = _with_norm(_conv(2 * deep, deep, (1, 1)))
        _init_convs(self)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        shallow = self.spatial(shallow)
        if not isinstance(deep, Proxy) and shallow.shape[-2:] != deep.shape[-2:]:  # a tracer's tensor has no shape
            raise ValueError(
                f"TPN: the last two feature maps are {tuple(shallow.shape[-2:])}, after a stride of 2, and "
                f"{tuple(deep.shape[-2:])}; use frames of another size, or a backbone with padding, such as a ResNet."
            )
        low = _pool_time(self.temporal[0](shallow), self.shallow_steps)  # (B, C2 / 2, S, H, W)
        high = _pool_time(self.temporal[1](deep))  # (B, C2 / 2, 1, H, W)
        lifted = low + high
        top_down = self.top_down(lifted, high)
        start = lifted if self.is_cascade else low
        bottom_up = self.bottom_up(start, high + _pool_time(self.downsample(start)))
        return self.fuse(torch.cat((top_down, bottom_up), 1))

    def extra_repr(self) -> str:
        return f"flow={'cascade' if self.is_cascade else 'parallel'!r}, shallow_steps={self.shallow_steps}"


class AuxiliaryHead(nn.Module):
    """Classifier of an intermediate feature map, for an additional loss in training.

    Yang et al., 2020 (arXiv:2004.03548), section 3.4.

    Args:
        channels: of the map.
        num_classes: classes. 0 for features.
        drop_rate: dropout before the classifier.
    Shape:
        input (B, C, T, H, W), output (B, num_classes).
    """

    def __init__(self, channels: int, num_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.conv = _with_norm(_conv(channels, 2 * channels, (1, 3), stride=2))
        self.drop = nn.Dropout(drop_rate)
        self.fc: nn.Module = nn.Identity()
        _init_convs(self)
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one. ``num_classes=0`` removes it."""
        conv: nn.Conv3d = self.conv[0]  # type: ignore[assignment]
        self.fc = nn.Identity()
        if num_classes:
            like = conv.weight
            fc = nn.Linear(conv.out_channels, num_classes, device=like.device, dtype=like.dtype)
            nn.init.normal_(fc.weight, std=0.01)
            nn.init.zeros_(fc.bias)
            self.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.conv(x).flatten(2).mean(2)))
