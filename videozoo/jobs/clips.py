"""Every view of each video in batches, decoded by processes whose death costs a file, not the run."""

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import BatchSampler

from videozoo.data import JointDataset, VideoDataset, VideoError, VideoRecord, create_transform, sampling_options

from .process_pool import run_all

# Processor time without a frame or a packet, after which a decoder is taken to hang and its process is killed. How much
# of a file is read is limited by --max-frames.
FILE_SECONDS = 600.0


@dataclass(frozen=True)
class ClipBatch:
    """Some videos that follow each other.

    Args:
        paths: all of them.
        videos: for each model uint8 (B, V, 3, T, H, W) of those that could be read. Empty if none could.
        read: their places in ``paths``.
        errors: why the others could not be, by place.
        notes: what is odd about videos that could be read, by place.
    """

    paths: list[str]
    videos: list[Tensor]
    read: list[int]
    errors: dict[int, VideoError]
    notes: dict[int, str]


class _Item(NamedTuple):
    """A video on its way into a batch: its views as bytes (V, 3, T, H, W) for each model, or the error."""

    path: str
    videos: Sequence[Tensor]
    error: VideoError | None
    note: str = ""


class _Views:
    """Read every view of records by their places. ``configs`` has what each model wants to see."""

    def __init__(self, records: Sequence[VideoRecord], configs: Sequence[dict[str, Any]], is_reversed: bool) -> None:
        self.records, self.is_reversed = records, is_reversed
        self.options = [(create_transform(**cfg, normalize=False), sampling_options(cfg)) for cfg in configs]

    def __call__(self, places: Sequence[int]) -> ClipBatch:
        return _collate([self._read(place) for place in places])

    def in_worker(self, places: Sequence[int]) -> ClipBatch:
        torch.set_num_threads(1)
        return self(places)

    def _read(self, place: int) -> _Item:
        record = self.records[place]
        try:
            item = JointDataset([VideoDataset([record], view, **sampling) for view, sampling in self.options])[0]
        except VideoError as error:
            reason = error.reason.removesuffix(record.listed)
            return _Item(str(record.path), (), VideoError(error.path, reason))
        except Exception as error:  # One file of millions must not end the run, whatever it does to the reader.
            return self.failed(place, f"unexpected {type(error).__name__}, {error}")
        videos = [video.flip(-3) for video in item["video"]] if self.is_reversed else item["video"]
        return _Item(str(record.path), videos, None, item["note"])

    def failed(self, place: int, reason: str) -> _Item:
        """Return the item of a record that ended its reader."""
        path = self.records[place].path
        return _Item(str(path), (), VideoError(path, reason))


def iterate_batches(
    records: Sequence[VideoRecord],
    configs: Sequence[dict[str, Any]],
    *,
    start: int,
    batch_size: int,
    workers: int,
    pin_memory: bool,
    is_reversed: bool = False,
) -> Generator[ClipBatch]:
    """Batches of the records from ``start`` on, in order.

    A file that kills the process that decodes it, or hangs it, becomes an error of that file.

    Args:
        configs: what each model wants to see. A file is read once for all of them.
        workers: decoding processes. 0 decodes in this one.
        pin_memory: give batches in pinned memory, from which a GPU copies while it computes.
        is_reversed: play every clip backwards.
    """
    views = _Views(records, configs, is_reversed)
    places = BatchSampler(range(start, len(records)), batch_size, drop_last=False)
    batches = _read_in_workers(views, places, workers, batch_size) if workers else (views(some) for some in places)
    return _pin_ahead(batches) if pin_memory else batches


def _read_in_workers(
    views: _Views, places: Iterable[Sequence[int]], workers: int, batch_size: int
) -> Generator[ClipBatch]:
    outcomes = run_all(views.in_worker, places, workers=workers, limit_sec=FILE_SECONDS * batch_size, in_order=True)
    with closing(outcomes):
        for outcome in outcomes:
            if not outcome.trouble:
                yield outcome.value
            elif len(outcome.item) == 1:
                yield _collate([views.failed(outcome.item[0], outcome.trouble)])
            else:  # each with a process of its own, so that the file is known
                yield _join(_read_in_workers(views, [[place] for place in outcome.item], 1, 1))


def _collate(items: Sequence[_Item]) -> ClipBatch:
    read = [item.videos for item in items if item.error is None]
    return ClipBatch(
        [item.path for item in items],
        [torch.stack(videos) for videos in zip(*read, strict=True)],
        [place for place, item in enumerate(items) if item.error is None],
        {place: item.error for place, item in enumerate(items) if item.error is not None},
        {place: item.note for place, item in enumerate(items) if item.note},
    )


def _join(singles: Iterable[ClipBatch]) -> ClipBatch:
    """Return one batch of batches of one video each."""
    return _collate(
        [
            _Item(one.paths[0], [video[0] for video in one.videos], one.errors.get(0), one.notes.get(0, ""))
            for one in singles
        ]
    )


def _pin_ahead(batches: Generator[ClipBatch]) -> Generator[ClipBatch]:
    """Copy the next batch into pinned memory, in a thread, while the one before is worked on."""

    def pin_next() -> ClipBatch | None:
        batch = next(batches, None)
        return batch and replace(batch, videos=[video.pin_memory() for video in batch.videos])

    with closing(batches), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(pin_next)
        while (batch := coming.result()) is not None:
            coming = thread.submit(pin_next)
            yield batch
