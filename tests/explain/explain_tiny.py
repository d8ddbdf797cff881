"""Generated clips and small models for the explanations."""

from typing import Any

import torch
from helpers import randomize
from torch import Tensor

import videozoo
from videozoo import TSN

COLORS = ((2.0, -1.0, -1.0), (-1.0, 2.0, -1.0), (-1.0, -1.0, 2.0))
SIDE = 16


def patch_clips(
    count: int, seed: int, frames: int = 4, size: int = 64, has_empty: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (B, 3, T, H, W) of a patch that moves over noise from side to side, its color (B,), its mask (B, T, H, W).

    With color len(COLORS) there is no patch.
    """
    generator = torch.Generator().manual_seed(seed)
    clips = 0.4 * torch.randn(count, 3, frames, size, size, generator=generator)
    labels = torch.randint(len(COLORS) + has_empty, (count,), generator=generator)
    masks = torch.zeros(count, frames, size, size)
    rows = torch.randint(0, size - SIDE + 1, (count,), generator=generator).tolist()
    turns = torch.randint(0, 2, (count,), generator=generator).tolist()
    for b in range(count):
        if labels[b] == len(COLORS):
            continue
        for t in range(frames):
            step = frames - 1 - t if turns[b] else t
            y, x = rows[b], round(step / max(1, frames - 1) * (size - SIDE))
            masks[b, t, y : y + SIDE, x : x + SIDE] = 1
        color = torch.tensor(COLORS[int(labels[b])])[:, None, None, None]
        clips[b] += masks[b] * color
    return clips, labels, masks


def make(temporal: Any = None, augmenters: Any = (), frames: int = 4, backbone: str = "tiny_resnet") -> Any:
    """A model with random weights, in evaluation mode."""
    model = videozoo.compose(
        backbone=backbone, temporal=temporal or TSN(), augmenters=augmenters, num_frames=frames, num_classes=5
    )
    return randomize(model).eval()
