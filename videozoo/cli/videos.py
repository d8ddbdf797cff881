"""Videos for the commands: sources checked, data sets and loaders made. Heavy imports inside."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.console import CommandError, note

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

    from videozoo.data import ClipNormalizer, VideoDataset, VideoRecord, VideoSource

TRAIN_FOLDERS = ("train", "training")
VAL_FOLDERS = ("val", "valid", "validation")
TEST_FOLDERS = ("test", "testing")
# What a loader's worker waits after SIGTERM; schedulers kill after 30 seconds.
WORKER_GRACE_SEC = 30


def find_split(data: Path, names: Sequence[str]) -> Path | None:
    """The sub-folder train (or val) of a folder that has both, else None."""
    has_both = all(_sub_folder(data, group) for group in (TRAIN_FOLDERS, VAL_FOLDERS))
    return _sub_folder(data, names) if has_both else None


def find_parts(data: str) -> list[Path]:
    """The sub-folders train, val and test of a folder that has the first and another one; else none."""
    folders = [_sub_folder(Path(data), names) for names in (TRAIN_FOLDERS, VAL_FOLDERS, TEST_FOLDERS)]
    found = [folder for folder in folders if folder is not None]
    # A class may be called train.
    has_classes = folders[0] is not None and any(entry.is_dir() for entry in folders[0].iterdir())
    return found if len(found) > 1 and has_classes else []


def _sub_folder(data: Path, names: Sequence[str]) -> Path | None:
    from videozoo.data.lists import expand_home

    home = Path(expand_home(data))
    return next((home / name for name in names if (home / name).is_dir()), None)


def load_train_and_val(
    data: str,
    val: str | None,
    *,
    data_root: str | None,
    class_names: Sequence[str] | None,
    val_frac: float,
    data_format: str | None = None,
    splits: tuple[str | None, str | None] = (None, None),
) -> "tuple[VideoSource, VideoSource]":
    """Both sources, with the same classes: given, found as train/ and val/ in ``data``, or split by hash.

    Args:
        splits: the parts to train and to validate on, where one file lists several.
    Raises:
        SourceError: a list or folder that is not fit for training.
        CommandError: a class without a training video.
    """
    from videozoo.data import load_source, split_by_hash

    split, val_split = splits
    train_folder = find_split(Path(data), TRAIN_FOLDERS)
    if train_folder is not None:
        data, val = str(train_folder), val or str(find_split(Path(data), VAL_FOLDERS))
        note(f"training on {data}, validating on {val}")
    where: dict[str, Any] = {"data_root": data_root, "data_format": data_format}
    train_source = load_source(data, class_names=class_names, split=split, **where)
    if val is None and val_split is None:
        train_source, val_source = split_by_hash(train_source, val_frac)
        note(f"no --val: {len(val_source.records)} of the videos are kept for validation (by hash of their names)")
    else:
        val_source = load_source(val or data, class_names=train_source.class_names, split=val_split, **where)
    _check_classes(data, train_source, val_source)
    return train_source, val_source


def _check_classes(data: str, train: "VideoSource", val: "VideoSource") -> None:
    """Two classes at least; what else is odd, about the two sources and between them, is told."""
    from videozoo.data import check_splits

    names = train.class_names
    if len(names) < 2:
        raise CommandError(f"{data}: one class ({', '.join(names)}); two are needed to tell apart.")
    warnings = [*train.warnings, *(text for text in val.warnings if text not in train.warnings)]
    for source, what in ((train, "training"), (val, "validation")):
        seen = {record.label for record in source.records}
        lacking = [name for label, name in enumerate(names) if label not in seen]
        if lacking:
            few = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            warnings.append(f"no {what} video of {few}")
    for text in [*warnings, *check_splits(train, val)]:
        note(f"warning: {text}")


def make_normalizer(model: "nn.Module") -> "ClipNormalizer":
    """From the bytes that the loaders here give to what the network takes; on the network's device."""
    from videozoo.data import ClipNormalizer, resolve_data_config

    cfg = resolve_data_config(model)
    return ClipNormalizer(cfg["mean"], cfg["std"], cfg["channel_order"])


def make_train_loader(
    model: "nn.Module",
    records: "Sequence[VideoRecord]",
    *,
    batch_size: int,
    workers: int,
    seed: int,
    is_balanced: bool = False,
    **transform_options: Any,
) -> "DataLoader[Any]":
    """A shuffled loader of random clips as bytes, as the network's config wants them; broken videos are replaced.

    Args:
        is_balanced: show every class equally often.
        transform_options: of ``create_transform``.
    """
    from videozoo.data import BalancedSampler, VideoDataset, create_transform, resolve_data_config, sampling_options

    cfg = resolve_data_config(model)
    dataset = VideoDataset(
        records,
        create_transform(**cfg, is_training=True, normalize=False, **transform_options),
        **sampling_options(cfg, is_training=True),
        seed=seed,
        on_broken="replace",
    )
    sampler = BalancedSampler([record.label for record in records]) if is_balanced else None
    return _make_loader(dataset, batch_size, workers, is_training=True, sampler=sampler)


def make_test_loader(
    model: "nn.Module",
    records: "Sequence[VideoRecord]",
    *,
    batch_size: int,
    workers: int,
    views: tuple[int, int] | None = None,
) -> "DataLoader[Any]":
    """A loader of every view of each video as bytes, in the order of the records; broken videos are reported.

    Args:
        views: clips and crops; None takes the network's own.
    """
    return _make_loader(make_test_dataset(model, records, views=views), batch_size, workers)


def make_test_dataset(
    model: "nn.Module", records: "Sequence[VideoRecord]", *, views: tuple[int, int] | None
) -> "VideoDataset":
    """Every view of each video as bytes, as the network's config wants them; broken videos are reported."""
    from videozoo.data import VideoDataset, create_transform, resolve_data_config, sampling_options

    num_clips, num_crops = views or (None, None)
    cfg = resolve_data_config(model, test_num_clips=num_clips, test_num_crops=num_crops)
    return VideoDataset(
        records,
        create_transform(**cfg, normalize=False),
        **sampling_options(cfg),
        on_broken="report",
    )


def parse_views(text: str | None, flag: str = "--views") -> tuple[int, int] | None:
    """``"10x3"`` as (10, 3).

    Raises:
        CommandError: another form, or crops that do not exist.
    """
    from videozoo.data import parse_views as parse

    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(
            f"{flag} is {text!r}; write clips x crops, such as 1x1 or 10x3; crops are 1 (the centre), 3 (along the "
            "longer side), 5 (corners and centre) or 10 (those mirrored too)."
        ) from error


def _make_loader(
    dataset: Any, batch_size: int, workers: int, *, is_training: bool = False, sampler: Any = None
) -> "DataLoader[Any]":
    import torch
    from torch.utils.data import DataLoader

    from videozoo.data import collate_clips

    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=is_training and sampler is None,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate_clips,
        worker_init_fn=_leave_signals_to_parent,
        # Workers take seconds to start where they are not forked; draws depend on no worker's state.
        persistent_workers=is_training and workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _leave_signals_to_parent(_worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach every process: the parent still wants its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _go_later)


def _go_later(number: int, frame: Any) -> None:
    """Go some time after the parent should have gone."""
    if hasattr(signal, "alarm"):
        signal.alarm(WORKER_GRACE_SEC)
