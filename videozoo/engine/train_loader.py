"""Training batches whose order and draws depend on the seed, the epoch and their number alone: any can come first."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset

from videozoo.engine.loaders import (
    Batch,
    check_loader,
    give_generators,
    has_index_batches,
    loader_parts,
    own_batches,
    prepare_loader,
    rebuild_loader,
)


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
        if isinstance(loader, DataLoader) and has_index_batches(loader):
            give_generators(loader)
            self._order = _SeededBatches(own_batches(loader, accelerator), accelerator.process_index)
            self._loader = rebuild_loader(loader, _SeededDataset(loader.dataset), self._order)
            check_loader(self._loader, accelerator, "fit: this process's share of the training")
        else:
            self._loader = prepare_loader(loader, accelerator, "fit: training")

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
    """Mix a run's seed and the numbers of an epoch, a batch, ...

    into a seed below 2**31, without a sum's clashes.
    """
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
    """The indices of a batch with the seed of its draws. It goes to the worker that makes the batch."""

    seed: int


class _SeededBatches:
    """A process's batch sampler, from any of its batches on, with a seed for each of them."""

    def __init__(self, batch_sampler: Any, process: int) -> None:
        self._batches, self._process = batch_sampler, process
        self._place = (0, 0, 0)

    def begin(self, seed: int, epoch: int, first: int) -> None:
        """Choose where the next iteration begins."""
        self._place = (seed, epoch, first)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[_SeededIndices]:
        seed, epoch, first = self._place
        for number, indices in enumerate(self._batches):
            if number >= first:
                batch = _SeededIndices(indices)
                batch.seed = mix_seed(seed, epoch, number, self._process, 2)  # 1 is the training step's
                yield batch


class _SeededDataset(Dataset[Any]):
    """A data set whose draws are seeded before each batch. To ``worker_init_fn`` it looks like the data set itself."""

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
