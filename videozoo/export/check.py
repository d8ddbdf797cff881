"""Exported files are run and compared with the model before anybody gets them."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from videozoo.data import resolve_data_config, test_size_of
from videozoo.data.read_clip import read_clip

from .errors import ExportError

__all__ = ["BATCHES", "TOLERANCE", "Run", "check_equal", "make_clips", "read_clips", "run_in_batches"]

Run = Callable[[Tensor], Tensor]
BATCHES = (1, 2, 5)
# Largest difference of the logits over the largest logit.
TOLERANCE = 1e-4
# Another size for models that take several: wider by this or by what the model needs, and higher by twice as much.
_WIDER = 16


def make_clips(model: torch.nn.Module, count: int = max(BATCHES)) -> Tensor:
    """Random clips of the size that a model's videos are cut to in a test, a color per frame.

    Shape:
        (count, 3, T, H, W) float.
    """
    config = resolve_data_config(model)
    height, width = test_size_of(config)
    draw = torch.Generator().manual_seed(0)
    colors = torch.randn(count, 3, config["num_frames"], 1, 1, generator=draw)
    return colors + torch.randn(count, 3, config["num_frames"], height, width, generator=draw)


def read_clips(model: torch.nn.Module, files: Sequence[str | Path]) -> Tensor:
    """Return one clip of each video, as a test of the model takes it.

    Args:
        model: a model with ``pretrained_cfg``.
        files: video files or folders of frames.
    Shape:
        (number of files, 3, T, H, W) float, normalized.
    Raises:
        VideoError: a file cannot be read.
    """
    return torch.cat([read_clip(file, model).video for file in files])


def check_equal(plain: Run, exported: Run, clips: Tensor, *, size_multiple: int | None) -> float:
    """Compare an exported file with its model at every batch of ``BATCHES``.

    Args:
        plain, exported: what gives the logits of a batch.
        clips: one or more. Where there are fewer than a batch needs they are taken again.
        size_multiple: try clips of another height and width too, multiples of this. None for the model's size only.
    Returns:
        the largest difference of a logit, over the largest logit.
    Raises:
        ExportError: it is above ``TOLERANCE``.
    """
    worst = 0.0
    places = torch.arange(max(BATCHES)) % len(clips)
    batches = [clips[places[:count]] for count in BATCHES]
    if size_multiple is not None:
        height, width = clips.shape[-2:]
        step = math.lcm(_WIDER, size_multiple)
        size = (clips.shape[2], height + 2 * step, width + step)
        batches.append(torch.nn.functional.interpolate(batches[1], size))
    for batch in batches:
        expected, got = plain(batch), exported(batch)
        if got.shape != expected.shape:
            raise ExportError(f"the exported file gives {tuple(got.shape)}, the model {tuple(expected.shape)}")
        difference = ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()
        if not difference <= TOLERANCE:  # not a number is no agreement either
            raise ExportError(
                f"the exported file differs from the model by {difference:.1e} of the largest logit for clips "
                f"{tuple(batch.shape)}; {TOLERANCE:.0e} is allowed. Nothing was written."
            )
        worst = max(worst, difference)
    return worst


def run_in_batches(run: Run, clips: Tensor) -> Tensor:
    """Return the logits of any number of clips, a few at a time."""
    return torch.cat([run(some) for some in clips.split(max(BATCHES))])
