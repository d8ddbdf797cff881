"""Normalization of clips from bytes to floats, on any device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from videozoo.bounds import CHOICES

CHANNEL_ORDERS: tuple[str, ...] = CHOICES["channel_order"]


@dataclass(frozen=True)
class ClipNormalizer:
    """Normalization of a video's bytes: (x / 255 - mean) / std, in the channel order of the model.

    Args:
        mean, std: per channel in the order of the model, of values in [0, 1].
        channel_order: ``rgb``, or ``bgr`` for models whose weights come from Caffe. The input is RGB.
    Shape:
        uint8, or float of the same range (0 to 255), (..., 3, T, H, W) to float32 of the same shape, on its device. On
        a CPU clips (B, 3, T, H, W) get ``channels_last_3d`` memory, in which convolutions are up to twice as fast.
    Raises:
        ValueError: an unknown order, or another shape.
    Example:
        >>> import torch
        >>> from videozoo import create_model
        >>> from videozoo.data import ClipNormalizer, resolve_data_config
        >>> normalizer = ClipNormalizer.of(resolve_data_config(create_model("tsm_r18")))
        >>> normalizer(torch.zeros(2, 3, 8, 112, 112, dtype=torch.uint8)).dtype
        torch.float32
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str = "rgb"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Return the normalizer of a model from the config that `resolve_data_config` returns."""
        return cls(config["mean"], config["std"], config["channel_order"])

    def __post_init__(self) -> None:
        if self.channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"ClipNormalizer: channel_order is {self.channel_order!r}, must be rgb or bgr.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"ClipNormalizer: mean {self.mean} and std {self.std} must be three numbers, std above 0.")

    def __call__(self, video: Tensor) -> Tensor:
        if video.ndim < 4 or video.shape[-4] != 3:
            raise ValueError(f"ClipNormalizer: got {tuple(video.shape)}, needs (..., 3, T, H, W).")
        if self.channel_order == "bgr":
            video = video.flip(-4)
        low = torch.tensor(self.mean).mul_(255).view(3, 1, 1, 1).to(video.device)
        gain = torch.tensor(self.std).mul_(255).reciprocal_().view(3, 1, 1, 1).to(video.device)
        is_faster = video.ndim == 5 and video.device.type == "cpu"  # benchmarks/attempts.md, "Memory format of clips"
        layout = torch.channels_last_3d if is_faster else torch.contiguous_format
        return video.to(torch.float32, copy=True, memory_format=layout).sub_(low).mul_(gain)

    def to_bytes(self, video: Tensor) -> Tensor:
        """Return the pixels, uint8 RGB, of a normalized video, clipped to their range.

        Shape:
            (..., 3, T, H, W) to the same.
        """
        mean = torch.tensor(self.mean, device=video.device).view(3, 1, 1, 1)
        std = torch.tensor(self.std, device=video.device).view(3, 1, 1, 1)
        pixels = ((video.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.flip(-4) if self.channel_order == "bgr" else pixels
