"""Sharding of a loader's batches, so that all processes together see every clip once per pass."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import BatchSampler


class BatchShares(BatchSampler):
    """Batches of a sampler for one process.

    The batches of a step go to the processes in turn. Where they are not all there, or not equally long, their clips
    are dealt out evenly. With fewer clips than processes some process takes one that another has too, so that every
    process has a batch in every step. A sampler that drops its last batch drops such a step.
    """

    def __init__(self, batch_sampler: BatchSampler, rank: int, num_processes: int) -> None:
        self.batch_sampler, self.rank, self.num_processes = batch_sampler, rank, num_processes
        self.batch_size = getattr(batch_sampler, "batch_size", None)  # type: ignore[assignment]
        self.drop_last = getattr(batch_sampler, "drop_last", False)

    def __len__(self) -> int:
        batches = len(self.batch_sampler)
        return batches // self.num_processes if self.drop_last else -(-batches // self.num_processes)

    def __iter__(self) -> Iterator[list[Any]]:
        group: list[Sequence[Any]] = []
        for batch in self.batch_sampler:
            group.append(batch)
            if len(group) == self.num_processes:
                yield self._share(group)
                group = []
        if group and not self.drop_last:
            yield self._share(group)

    def _share(self, group: list[Sequence[Any]]) -> list[Any]:
        if len(group) == self.num_processes and len({len(batch) for batch in group}) == 1:
            return list(group[self.rank])
        clips = [clip for batch in group for clip in batch]
        if len(clips) < self.num_processes:
            return [clips[self.rank % len(clips)]]
        bounds = [len(clips) * number // self.num_processes for number in (self.rank, self.rank + 1)]
        return clips[slice(*bounds)]
