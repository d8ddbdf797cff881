"""Training batches whose order and draws depend on the seed, the epoch and their number alone: any can come first."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset, IterableDataset

from videozoo.engine.loaders import Batch, check_loader, give_generators, loader_parts, prepare_loader, release_loader
from videozoo.engine.shares import BatchShares

_KEPT = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
         "prefetch_factor", "persistent_workers", "pin_memory_device", "in_order")  # fmt: skip


class TrainLoader:
    """This process's share of the training batches, on the device, from any batch of any epoch on.

    A DataLoader's batches are shared out by its batch sampler and seeded one by one, in whatever process they are made:
    Python's, NumPy's and torch's global draws in the data set are the same with any number of workers, and a batch that
    is passed over is not read. Any other iterable is read from its start.

    Args:
        loader: a DataLoader or, in one process, any iterable with a length.
        seed: of the run.
    Raises:
        ValueError: as for ``check_loader``.
    """

    def __init__(self, loader: Iterable[Batch], accelerator: Accelerator, seed: int) -> None:
        check_loader(loader, accelerator, "fit: training")
        self._source, self._seed, self._accelerator = loader, seed, accelerator
        self._order: _SeededBatches | None = None
        self._loader = loader
        if isinstance(loader, DataLoader):
            give_generators(loader)
            if loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
                self._loader = prepare_loader(loader, accelerator, "fit: training")
            else:
                self._order = _SeededBatches(loader.batch_sampler, accelerator)
                self._loader = _seeded_loader(loader, self._order)
                check_loader(self._loader, accelerator, "fit: this process's share of the training")

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    @property
    def num_videos(self) -> int | None:
        """The size of the data set, where that is known."""
        dataset = getattr(self._source, "dataset", None)
        return len(dataset) if isinstance(dataset, Sized) else None

    def layout(self, grad_accum_steps: int) -> dict[str, int | None]:
        """Return what must stay the same for a number of steps to mean the same clips, and the batch size."""
        size = getattr(getattr(self._source, "batch_sampler", None), "batch_size", None)
        return {
            "training videos": self.num_videos,
            "clips a step": None if size is None else size * self._accelerator.num_processes * grad_accum_steps,
            "steps of an epoch": -(-len(self) // grad_accum_steps),
            "batch size": size,
            "batches a step": grad_accum_steps,
        }

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Batch, float]]:
        """Yield the batches of an epoch from number ``first`` on, each with the seconds spent waiting for it."""
        start_epoch(self._source, self._seed, epoch)
        if self._order is not None:
            self._order.begin(self._seed, epoch, first)
        batches = iter(self._loader)
        number = 0 if self._order is None else first
        while True:
            started = time.perf_counter()
            if self._order is None:  # it may draw in this process
                seed_draws(mix_seed(self._seed, epoch, number, 0, 2))
            try:
                batch = next(batches)
            except StopIteration:
                return
            number += 1
            if number > first:
                yield send_to_device(batch, self._accelerator.device, non_blocking=True), time.perf_counter() - started

    def release(self) -> None:
        """Tell accelerate that no more is read."""
        release_loader(self._loader)


def start_epoch(loader: Iterable[Batch], seed: int, epoch: int) -> None:
    """Make the order of an epoch's batches a function of (seed, epoch), the same in all processes.

    Seeds Python, NumPy, torch, and every ``torch.Generator`` of the loader, its samplers and its data set, and calls
    ``set_epoch(epoch)`` on each of them that has it.
    """
    mixed = mix_seed(seed, epoch)
    seed_draws(mixed)
    for part in loader_parts(loader):
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(mixed)
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)


def mix_seed(*numbers: int) -> int:
    """Mix a run's seed and the numbers of an epoch, a batch, ... into a seed below 2**31, without a sum's clashes."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


def seed_draws(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global draws on the CPU."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed wakes the GPU, which a forked worker must not


def seed_step(seed: int, device: torch.device) -> None:
    """Seed the global draws on the CPU and, where ``device`` is another, on all devices."""
    seed_draws(seed)
    if device.type != "cpu":
        torch.manual_seed(seed)


class _SeededIndices(list[int]):
    """The indices of a batch with the seed of its draws; it goes to the worker that makes the batch."""

    seed: int


class _SeededBatches:
    """A batch sampler for this process's share of another one's batches, from any of them on."""

    def __init__(self, batch_sampler: Any, accelerator: Accelerator) -> None:
        if isinstance(batch_sampler, BatchSamplerShard):  # of a loader that accelerate has shared out already
            batch_sampler = batch_sampler.batch_sampler
        self._processes, self._process = accelerator.num_processes, accelerator.process_index
        self._shard = (
            BatchShares(batch_sampler, self._process, self._processes) if self._processes > 1 else batch_sampler
        )
        self._place = (0, 0, 0)

    def begin(self, seed: int, epoch: int, first: int) -> None:
        """Choose where the next iteration begins."""
        self._place = (seed, epoch, first)

    def __len__(self) -> int:
        return len(self._shard)

    def __iter__(self) -> Iterator[_SeededIndices]:
        seed, epoch, first = self._place
        for number, indices in enumerate(self._shard):
            if number >= first:
                batch = _SeededIndices(indices)
                batch.seed = mix_seed(seed, epoch, number, self._process, 2)  # 1 is the training step's
                yield batch


class _SeededDataset(Dataset[Any]):
    """A data set whose draws are seeded before each batch; to ``worker_init_fn`` it looks like the data set itself."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: _SeededIndices) -> Sequence[Any]:
        seed_draws(indices.seed)
        if callable(getattr(self.dataset, "__getitems__", None)):
            items: Sequence[Any] = self.dataset.__getitems__(list(indices))
            return items
        return [self.dataset[index] for index in indices]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # while it is unpickled there is no data set yet
            raise AttributeError(name)
        return getattr(self.dataset, name)


def _seeded_loader(loader: DataLoader, order: _SeededBatches) -> DataLoader:
    kept = {name: getattr(loader, name) for name in _KEPT if hasattr(loader, name)}
    if not kept.get("pin_memory_device"):  # an empty one is the default, and giving it warns
        kept.pop("pin_memory_device", None)
    # A generator of its own: the seed that a DataLoader draws for its workers must come from no other stream.
    return DataLoader(_SeededDataset(loader.dataset), batch_sampler=order, generator=torch.Generator(), **kept)  # type: ignore[arg-type]
