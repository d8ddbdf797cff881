"""Occlusion maps: how far the probability of a class falls where a gray patch covers a part of a frame."""

import itertools

import torch
from torch import Tensor, nn

from videozoo.explain.cam import ClassMaps, wanted_classes
from videozoo.explain.capture import private_copy, to_float
from videozoo.probabilities import is_multi_label, probabilities

__all__ = ["count_forwards", "occlusion_maps"]

GRID = 5  # patches along each side of a frame
MOST_MOMENTS = 8
BATCH_SIZE = 8


def count_forwards(num_frames: int) -> int:
    """Return how many clips `occlusion_maps` runs through a model for one clip of so many frames: at most 201."""
    return 1 + GRID**2 * min(num_frames, MOST_MOMENTS)


def occlusion_maps(model: nn.Module, clips: Tensor, *, classes: int | Tensor | None = None) -> ClassMaps:
    """Return the drop of a class's probability by the place and the moment that a gray patch covers.

    Zeiler and Fergus, 2014 (arXiv:1311.2901), over time too: a patch covers one of 5 x 5 places of one frame, or of one
    of eight runs of frames where the clip has more than eight. Needs no gradient and no known layers, so it takes
    exported files as well. It costs `count_forwards` forwards a clip. The model is not changed.

    Args:
        model: turns clips into logits: a model of videozoo, an ``OnnxNet``, or any other.
        clips: normalized clips. 0 (the mean color of the training images) is the gray of the patch.
        classes: one class for all clips, or one for each. None: what the model predicts.
    Returns:
        maps (B, N, 5, 5), a map for each of N <= 8 moments. ``frames`` are the middle ones of these. 1 is the largest
        drop of the clip, which is in ``peaks``. Places that raise the probability are 0.
    Shape:
        clips (B, C, T, H, W).
    Raises:
        ValueError: an unknown class.
    """
    watched = private_copy(model)
    moments = _moments(clips.shape[2])
    with torch.no_grad():
        logits = watched(clips)
        wanted = wanted_classes(logits, classes, "occlusion_maps")
        before = probabilities(logits.float(), is_multi_label(watched)).gather(1, wanted[:, None])
        drops = torch.stack(
            [one - _covered(watched, clip, moments, int(k)) for one, clip, k in zip(before, clips, wanted, strict=True)]
        )
    maps = to_float(drops).reshape(len(clips), len(moments), GRID, GRID).relu()
    peaks = maps.amax((1, 2, 3))
    maps = torch.where(maps > 0, maps / peaks[:, None, None, None], maps)
    frames = tuple((first + last) // 2 for first, last in moments)
    return ClassMaps(maps, frames, wanted.cpu(), to_float(logits), peaks)


def _moments(num_frames: int) -> list[tuple[int, int]]:
    """First and last frame of each run of frames that is covered together."""
    count = min(num_frames, MOST_MOMENTS)
    starts = [k * num_frames // count for k in range(count + 1)]
    return [(first, end - 1) for first, end in itertools.pairwise(starts)]


def _covered(model: nn.Module, clip: Tensor, moments: list[tuple[int, int]], label: int) -> Tensor:
    """Probabilities of a class, one for each covered place: (moments * GRID * GRID,)."""
    height, width = clip.shape[-2:]
    found = []
    places = list(itertools.product(moments, range(GRID), range(GRID)))
    for group in (places[k : k + BATCH_SIZE] for k in range(0, len(places), BATCH_SIZE)):
        batch = clip.repeat(len(group), 1, 1, 1, 1)
        for one, ((first, last), row, column) in zip(batch, group, strict=True):
            rows = slice(row * height // GRID, (row + 1) * height // GRID)
            columns = slice(column * width // GRID, (column + 1) * width // GRID)
            one[:, first : last + 1, rows, columns] = 0
        found.append(probabilities(model(batch).float(), is_multi_label(model))[:, label])
    return torch.cat(found)
