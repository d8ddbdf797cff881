"""Sampling of the ordered frame tuples of TRN by rank, without listing all of them."""

from math import comb

import numpy as np
import torch
from torch import Tensor

__all__ = ["MAX_FRAMES", "draw_tuples", "tested_tuples", "tuples_of_ranks"]

_PER_SCALE = 3
MAX_FRAMES = 64  # of more, the number of tuples exceeds an int64
_MANY = 3_000_000  # tuples of one length; NumPy draws from fewer by permuting them all (of 24 frames: 2.7 million)


def tested_tuples(num_frames: int) -> dict[int, list[tuple[int, ...]]]:
    """Return the tuples of every length that are used for testing."""
    generator = np.random.RandomState(0)
    sizes = range(num_frames - 1, 1, -1)
    ranks = []
    for size in sizes:
        count = comb(num_frames, size)
        if count > _MANY:  # the authors' code would run out of memory
            ranks.append(generator.randint(count, size=_PER_SCALE, dtype=np.int64))
        else:
            ranks.append(generator.choice(count, _PER_SCALE, replace=False))
    tuples = tuples_of_ranks(torch.tensor(np.array(ranks), device="cpu"), num_frames) if ranks else {}
    return {size: [tuple(row) for row in rows.tolist()] for size, rows in tuples.items()}


def draw_tuples(num_frames: int, device: torch.device) -> dict[int, Tensor]:
    """Draw three different tuples of every length below ``num_frames``: tensors (3, size) by size."""
    counts = torch.tensor([comb(num_frames, size) for size in range(num_frames - 1, 1, -1)], device=device)
    draws = torch.randint(2**62, (_PER_SCALE, len(counts)), device=device)
    # The second is drawn from what the first leaves, the third from what both leave.
    a, b, c = (draw % (counts - i) for i, draw in enumerate(draws.unbind()))
    b = b + (b >= a)
    c = c + (c >= torch.minimum(a, b))
    c = c + (c >= torch.maximum(a, b))
    return tuples_of_ranks(torch.stack([a, b, c], 1), num_frames)


def tuples_of_ranks(ranks: Tensor, num_frames: int) -> dict[int, Tensor]:
    """Return the tuples at these ranks in the order of ``itertools.combinations``, without listing the others.

    Shape:
        ranks (S - 2, R): a row for each size from S - 1 down to 2. Output by size (R, size).
    """
    table = torch.tensor([[comb(n, k) for k in range(num_frames)] for n in range(num_frames)], device=ranks.device)
    sizes = range(num_frames - 1, 1, -1)
    left = torch.tensor(sizes, device=ranks.device)[:, None].expand_as(ranks)  # number of frames still to choose
    taken = []
    for after in range(num_frames - 1, -1, -1):  # number of frames after this one
        with_it = table[after][(left - 1).clamp(min=0)]  # tuples that take this frame come first
        takes = (left > 0) & (ranks < with_it)
        ranks = torch.where(takes, ranks, ranks - with_it)
        left = left - takes.long()
        taken.append(takes)
    order = torch.stack(taken, -1).long().argsort(dim=-1, descending=True, stable=True)
    return {size: row[:, :size] for size, row in zip(sizes, order.unbind(), strict=True)}
