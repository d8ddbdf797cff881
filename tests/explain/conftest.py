"""Clips with a moving patch, and a model that was trained for a few seconds to tell the patch's color."""

from typing import Any

import pytest
import torch
from explain_tiny import COLORS, patch_clips

import videozoo
from videozoo import ARC, TSM


@pytest.fixture(scope="session")
def spotter() -> Any:
    """ARC on TSM on a tiny ResNet: four frames of 64x64, classes are the patch's colors, and no patch."""
    torch.manual_seed(0)
    model = videozoo.compose(
        backbone="tiny_resnet", temporal=TSM(), augmenters=[ARC()], num_frames=4, num_classes=len(COLORS) + 1
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    model.train()
    for step in range(28):
        clips, labels, _ = patch_clips(8, seed=100 + step, has_empty=True)
        loss = torch.nn.functional.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval()
