"""Classes of unequal size: weights for the loss, or an order that shows all of them equally often."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler


class BalancedSampler(Sampler[int]):
    """An epoch in which every class comes equally often, as many draws as there are videos.

    Within a class, no video comes again before all others have come. The r-th further draw of video ``i`` is the index
    ``r * len(labels) + i``, which ``VideoDataset`` takes for another random clip of it.

    Args:
        labels: class index of each video.
        generator: source of the draws. Without one it is seeded from torch's random numbers.
    Raises:
        ValueError: no labels, or a negative one.
    """

    def __init__(self, labels: Sequence[int], generator: torch.Generator | None = None) -> None:
        if not len(labels) or min(labels) < 0:
            raise ValueError("BalancedSampler: needs the class index, 0 or more, of at least one video.")
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.generator = generator

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[int]:
        generator = self.generator
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.randint(2**63 - 1, ())))
        total, classes = len(self.labels), self.labels.unique()
        # What does not divide goes to classes drawn again each epoch.
        quotas = torch.full((len(classes),), total // len(classes))
        quotas[torch.randperm(len(classes), generator=generator)[: total % len(classes)]] += 1
        picked = []
        for label, quota in zip(classes, quotas.tolist(), strict=True):
            members = (self.labels == label).nonzero().flatten()
            for repeat in range(-(-quota // len(members))):
                order = torch.randperm(len(members), generator=generator)[: quota - repeat * len(members)]
                picked.append(members[order] + repeat * total)
        indices = torch.cat(picked)
        return iter(indices[torch.randperm(total, generator=generator)].tolist())


def class_weights(labels: Sequence[int], num_classes: int) -> Tensor:
    """Weights of a loss that make up for unequal classes: inverse to their sizes, 1 on average over the videos.

    Args:
        labels: class index of each video, in [0, num_classes).
        num_classes: K.
    Shape:
        float32 (K,). A class without a video has 1.
    Raises:
        ValueError: no labels, or one out of range.
    """
    if not len(labels) or min(labels) < 0 or max(labels) >= num_classes:
        raise ValueError(f"class_weights: needs at least one label, all in [0, {num_classes}).")
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=num_classes)
    num_seen = int((counts > 0).sum())
    return torch.where(counts > 0, len(labels) / (num_seen * counts.clamp(min=1)), 1.0).to(torch.float32)
