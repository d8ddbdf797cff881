"""Loaders: checked, shared among the processes, timed."""

import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Sampler

from videozoo.engine.batch_sharding import BatchShares

Batch = dict[str, Any]
_KEPT = (
    *("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator"),
    *("prefetch_factor", "persistent_workers", "in_order"),
)


def check_loader(loader: Iterable[Batch], accelerator: Accelerator, who: str) -> None:
    """Check that a loader can be used.

    Args:
        who: named in the errors.
    Raises:
        ValueError: no batch. No length. Something other than a DataLoader where there are several processes.
    """
    if not isinstance(loader, Sized):
        raise ValueError(f"{who}: {type(loader).__name__} has no length; the schedule needs the number of batches.")
    if len(loader) == 0:
        raise ValueError(f"{who}: the loader gives no batch{_why_empty(loader)}; add videos or lower the batch size.")
    if not isinstance(loader, DataLoader) and accelerator.num_processes > 1:
        raise ValueError(f"{who}: several processes can only share a torch DataLoader, not {type(loader).__name__}.")


def prepare_loader(loader: Iterable[Batch], accelerator: Accelerator, who: str) -> Iterable[Batch]:
    """Split a DataLoader's batches among the processes.

    In a single one any loader passes as it is.

    Accelerate's own sharing fills the last step up with clips from the start, which then count twice.

    Args:
        who: named in the errors.
    Raises:
        ValueError: as for ``check_loader``. Several processes and a data set without indices, or no batches.
    """
    check_loader(loader, accelerator, who)
    if not isinstance(loader, DataLoader):
        return loader
    give_generators(loader)
    if accelerator.num_processes == 1 or isinstance(loader.batch_sampler, BatchShares):
        return loader
    if not has_index_batches(loader):
        raise ValueError(
            f"{who}: several processes can only share a DataLoader of batches over a data set with indices; this one "
            f"has a {type(loader.dataset).__name__} and batch_size={loader.batch_size}."
        )
    shared = rebuild_loader(loader, loader.dataset, own_batches(loader, accelerator))
    check_loader(shared, accelerator, f"{who}: the share of a process")
    return shared


def has_index_batches(loader: DataLoader) -> bool:
    """Return whether a loader's batches are lists of indices, which can be dealt out and passed over unread."""
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


def own_batches(loader: DataLoader, accelerator: Accelerator) -> Any:
    """Return the batch sampler of this process: the loader's own, or a share of it."""
    sampler: Any = loader.batch_sampler
    if isinstance(sampler, BatchSamplerShard):  # of a loader that accelerate has shared out already
        sampler = sampler.batch_sampler
    if accelerator.num_processes == 1:
        return sampler
    return BatchShares(sampler, accelerator.process_index, accelerator.num_processes)


def rebuild_loader(loader: DataLoader, dataset: Any, batch_sampler: Any) -> DataLoader:
    """Return the same loader over another data set and other batches."""
    kept = {name: getattr(loader, name) for name in _KEPT if hasattr(loader, name)}
    return DataLoader(dataset, batch_sampler=batch_sampler, **kept)


def _why_empty(loader: object) -> str:
    if not isinstance(loader, DataLoader) or not isinstance(loader.dataset, Sized):
        return ""
    return f" ({len(loader.dataset)} videos, batch size {loader.batch_size}, drop_last={loader.drop_last})"


def give_generators(loader: DataLoader) -> None:
    """Give the loader and its samplers their own generators, which are the same in all processes.

    They draw a seed each time an iteration or a worker starts. That must not move torch's global state.
    """
    loader.generator = torch.Generator()
    for part in loader_parts(loader):
        if isinstance(part, Sampler) and getattr(part, "generator", part) is None:
            part.generator = torch.Generator()  # type: ignore[attr-defined]


def loader_parts(loader: object) -> list[Any]:
    """Return the loader, its samplers and its data sets, however they are nested."""
    found: list[Any] = []
    waiting: list[Any] = [loader]
    while waiting:
        part = waiting.pop(0)
        if part is None or any(part is other for other in found):
            continue
        found.append(part)
        waiting += [getattr(part, name, None) for name in ("batch_sampler", "sampler", "dataset")]
    return found


def timed_batches(loader: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, float]]:
    """Yield each batch on ``device`` with the seconds spent waiting for it."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        try:
            batch = send_to_device(next(batches), device)
        except StopIteration:
            return
        yield batch, time.perf_counter() - started


def take(batch: Batch, key: str, who: str) -> Tensor:
    """Return one tensor of a batch, or an error that says what the batch has."""
    if not isinstance(batch, dict) or not isinstance(batch.get(key), Tensor):
        came = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f"{who}: a batch must be a dict with tensors video, label and index; {key} is not in {came}.")
    return batch[key]
