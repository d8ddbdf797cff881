"""Videos for the commands: sources checked, data sets and loaders made. Heavy imports inside."""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.console import CommandError, note

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

    from videozoo.data import VideoRecord, VideoSource

TRAIN_FOLDERS = ("train", "training")
VAL_FOLDERS = ("val", "valid", "validation")
# Opening decodes a frame of each, about 5 ms; above this the first epoch finds broken files.
OPENED_BEFORE_TRAINING = 2000
SHOWN_PROBLEMS = 20


def find_split(data: Path, names: Sequence[str]) -> Path | None:
    """The sub-folder train (or val) of a folder that has both, else None."""
    has_both = all(_sub_folder(data, group) for group in (TRAIN_FOLDERS, VAL_FOLDERS))
    return _sub_folder(data, names) if has_both else None


def _sub_folder(data: Path, names: Sequence[str]) -> Path | None:
    return next((data / name for name in names if (data / name).is_dir()), None)


def load_train_and_val(
    data: Path, val: Path | None, *, data_root: Path | None, class_names: Sequence[str] | None, val_frac: float
) -> "tuple[VideoSource, VideoSource]":
    """Both sources, with the same classes: given, found as train/ and val/ in ``data``, or split by hash.

    Raises:
        SourceError: a list or folder that is not fit for training.
        CommandError: a class without a training video.
    """
    from videozoo.data import load_source, split_by_hash

    train_folder = find_split(data, TRAIN_FOLDERS)
    if train_folder is not None:
        data, val = train_folder, val or find_split(data, VAL_FOLDERS)
        note(f"training on {data}, validating on {val}")
    train_source = load_source(data, data_root=data_root, class_names=class_names)
    if val is None:
        train_source, val_source = split_by_hash(train_source, val_frac)
        note(f"no --val: {len(val_source.records)} of the videos are kept for validation (by hash of their names)")
    else:
        val_source = load_source(val, data_root=data_root, class_names=train_source.class_names)
    _check_classes(data, train_source, val_source)
    return train_source, val_source


def _check_classes(data: Path, train: "VideoSource", val: "VideoSource") -> None:
    names = train.class_names
    if len(names) < 2:
        raise CommandError(f"{data}: one class ({', '.join(names)}); two are needed to tell apart.")
    for source, what in ((train, "training"), (val, "validation")):
        seen = {record.label for record in source.records}
        lacking = [name for label, name in enumerate(names) if label not in seen]
        if lacking:
            few = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            note(f"warning: no {what} video of {few}")
    shared = {os.path.realpath(r.path) for r in train.records} & {os.path.realpath(r.path) for r in val.records}
    if shared:
        note(f"warning: {len(shared)} videos are in training and validation both, such as {min(shared)}")


def open_all(records: "Sequence[VideoRecord]") -> None:
    """Open every video of a small set once, so that a broken one is told before training, not hours into it.

    Raises:
        CommandError: names the broken ones and where they are listed.
    """
    from videozoo.data import VideoError, VideoReader

    if len(records) > OPENED_BEFORE_TRAINING:
        return

    def trouble(record: "VideoRecord") -> str | None:
        try:
            with VideoReader(record.path):
                return None
        except VideoError as error:
            return f"{record.source}: {error}"

    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        problems = [text for text in pool.map(trouble, records) if text]
    if problems:
        lines = [f"  {text}" for text in problems[:SHOWN_PROBLEMS]]
        if len(problems) > SHOWN_PROBLEMS:
            lines.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
        count = f"{len(problems)} of {len(records)} videos cannot be read; take them out or replace them"
        raise CommandError("\n".join([count, *lines]))


def make_train_loader(
    model: "nn.Module",
    records: "Sequence[VideoRecord]",
    *,
    batch_size: int,
    workers: int,
    seed: int,
    **transform_options: Any,
) -> "DataLoader[Any]":
    """A shuffled loader of random clips, as the network's config wants them."""
    from videozoo.data import VideoDataset, create_transform, resolve_data_config

    cfg = resolve_data_config(model)
    dataset = VideoDataset(
        records,
        create_transform(**cfg, is_training=True, **transform_options),
        num_frames=cfg["num_frames"],
        sampling=cfg["frame_sampling"],
        frame_stride=cfg["frame_stride"],
        frames_per_segment=cfg["frames_per_segment"],
        is_training=True,
        seed=seed,
    )
    return _make_loader(dataset, batch_size, workers, is_shuffled=True)


def make_test_loader(
    model: "nn.Module",
    records: "Sequence[VideoRecord]",
    *,
    batch_size: int,
    workers: int,
    views: tuple[int, int] | None = None,
    is_reversed: bool = False,
) -> "DataLoader[Any]":
    """A loader of every view of each video, in the order of the records.

    Args:
        views: clips and crops; None takes the network's own.
        is_reversed: play every clip backwards.
    """
    dataset = make_test_dataset(model, records, views=views)
    return _make_loader(_Reversed(dataset) if is_reversed else dataset, batch_size, workers, is_shuffled=False)


def make_test_dataset(model: "nn.Module", records: "Sequence[VideoRecord]", *, views: tuple[int, int] | None) -> Any:
    """Every view of each video, as the network's config wants them."""
    from videozoo.data import VideoDataset, create_transform, resolve_data_config

    num_clips, num_crops = views or (None, None)
    cfg = resolve_data_config(model, test_num_clips=num_clips, test_num_crops=num_crops)
    return VideoDataset(
        records,
        create_transform(**cfg),
        num_frames=cfg["num_frames"],
        sampling=cfg["frame_sampling"],
        frame_stride=cfg["frame_stride"],
        frames_per_segment=cfg["frames_per_segment"],
        num_clips=cfg["test_num_clips"],
    )


def parse_views(text: str | None) -> tuple[int, int] | None:
    """``"10x3"`` as (10, 3).

    Raises:
        CommandError: another form, or crops that do not exist.
    """
    from videozoo.data import parse_views as parse

    if text is None:
        return None
    try:
        num_clips, num_crops = parse(text)
    except ValueError as error:
        raise CommandError(f"--views is {text!r}; write clips x crops, such as 1x1 or 10x3.") from error
    if num_crops not in (1, 3):
        raise CommandError(f"--views is {text!r}; crops are 1 (the centre) or 3 (along the longer side).")
    return num_clips, num_crops


class _Reversed:
    """A data set whose clips are played backwards."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.dataset[index]
        return {**item, "video": item["video"].flip(-3)}


def _make_loader(dataset: Any, batch_size: int, workers: int, *, is_shuffled: bool) -> "DataLoader[Any]":
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=is_shuffled,
        num_workers=workers,
        worker_init_fn=_leave_ctrl_c_to_parent,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _leave_ctrl_c_to_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
