"""Every view of each video in batches, decoded by processes whose death costs a file, not the run."""

import logging
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from videozoo.data import VideoDataset, VideoError, VideoRecord, create_transform, sampling_options

log = logging.getLogger("videozoo")

# A decoding process is replaced after so many batches.
RENEW_BATCHES = 2000


@dataclass(frozen=True)
class ClipBatch:
    """Some videos that follow each other.

    Args:
        paths: all of them.
        video: uint8 (B, V, 3, T, H, W) of those that could be read; None if none could.
        read: their places in ``paths``.
        errors: why the others could not be, by place.
        notes: what is odd about videos that could be read, by place.
    """

    paths: list[str]
    video: Tensor | None
    read: list[int]
    errors: dict[int, str]
    notes: dict[int, str]

    def pin_memory(self) -> "ClipBatch":
        """For the DataLoader, which copies from pinned memory to a GPU while that computes."""
        video = None if self.video is None else self.video.pin_memory()
        return ClipBatch(self.paths, video, self.read, self.errors, self.notes)


class _Item(NamedTuple):
    """A video on its way into a batch: its views as bytes (V, 3, T, H, W), or the error."""

    path: str
    video: Tensor | None
    error: str | None
    note: str = ""


class _Views(Dataset[_Item]):
    """The item of each record, which is made when it is asked for."""

    def __init__(self, records: Sequence[VideoRecord], config: dict[str, Any]) -> None:
        self.records = records
        self.transform = create_transform(**config, normalize=False)
        self.sampling = sampling_options(config)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> _Item:
        record = self.records[index]
        path = str(record.path)
        try:
            item = VideoDataset([record], self.transform, **self.sampling)[0]
            return _Item(path, item["video"], None, item["note"])
        except VideoError as error:
            return _Item(path, None, error.reason.removesuffix(f" [listed in {record.source}]"))
        except Exception as error:  # One file of millions must not end the run, whatever it does to the reader.
            return _Item(path, None, f"unexpected {type(error).__name__}, {error}")


def iterate_batches(
    records: Sequence[VideoRecord],
    config: dict[str, Any],
    *,
    start: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
) -> Generator[ClipBatch]:
    """Batches of the records from ``start`` on, in order.

    A file that kills the process that decodes it becomes an error of that file. Processes are replaced now and then, so
    that what decoders do not give back (about 2 KB a file) does not add up.
    """
    views = _Views(records, config)
    first = start
    while first < len(records):
        stop = min(first + RENEW_BATCHES * max(workers, 1) * batch_size, len(records))
        places = BatchSampler(range(first, stop), batch_size, drop_last=False)
        try:
            for batch in _load(views, places, workers, pin_memory):
                yield batch
                first += len(batch.paths)
            continue
        except (RuntimeError, OSError, EOFError) as error:
            if not _is_death(error):
                raise
            log.warning("a decoding process died; its files are tried one by one")
        last = min(first + batch_size * max(2 * workers, 1), len(records))
        for i in range(first, last, batch_size):
            yield _load_singly(views, range(i, min(i + batch_size, last)))
        first = last


def _load(views: _Views, places: Iterable[Sequence[int]], workers: int, pin_memory: bool) -> Iterator[ClipBatch]:
    loader = DataLoader(
        views,
        batch_sampler=places,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_parent,
        pin_memory=pin_memory,
        generator=torch.Generator(),
    )
    batches = iter(loader)
    if threading.current_thread() is not threading.main_thread():
        yield from batches
        return
    # torch's handler tells the death of a worker in whatever line the program is at, which may be the writing of a
    # file. Without it the loader finds out by itself, where the batch is awaited.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from batches
    finally:
        signal.signal(signal.SIGCHLD, handler)


def _load_singly(views: _Views, places: Sequence[int]) -> ClipBatch:
    """The same batch with a process for each file, so that the one that kills it is known."""
    items: list[_Item] = []
    for place in places:
        try:
            (batch,) = _load(views, [[place]], 1, pin_memory=False)
            video = None if batch.video is None else batch.video[0]
            items.append(_Item(batch.paths[0], video, batch.errors.get(0), batch.notes.get(0, "")))
        except (RuntimeError, OSError, EOFError) as error:
            if not _is_death(error):
                raise
            items.append(_Item(str(views.records[place].path), None, "the process that decoded it died"))
    return _collate(items)


def _collate(items: list[_Item]) -> ClipBatch:
    videos = {place: item.video for place, item in enumerate(items) if item.video is not None}
    return ClipBatch(
        [item.path for item in items],
        torch.stack(list(videos.values())) if videos else None,
        list(videos),
        {place: item.error for place, item in enumerate(items) if item.error is not None},
        {place: item.note for place, item in enumerate(items) if item.note},
    )


def _is_death(error: Exception) -> bool:
    """Whether a decoding process is gone: it was found dead, or what it had sent can no longer be fetched from it."""
    return isinstance(error, ConnectionError | FileNotFoundError | EOFError) or "DataLoader worker" in str(error)


def _leave_signals_to_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
