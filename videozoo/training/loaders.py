"""Clips for training.

Heavy imports inside.
"""

import signal
from typing import TYPE_CHECKING, Any

from videozoo.freed_memory import return_freed_memory

from .flip_labels import describe_mirrors, describe_verticals, mirror_labels, vertical_labels
from .run_log import note
from .settings import Settings
from .sizes import parse_size, parse_views

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from videozoo.data import VideoDataset, VideoSource
    from videozoo.models import Ensemble, VideoNet

# Seconds a loader's worker waits after SIGTERM. Schedulers kill after 30 seconds.
WORKER_GRACE_SEC = 30


def make_train_loader(settings: Settings, model: "VideoNet | Ensemble", train: "VideoSource") -> "DataLoader[Any]":
    """Return a shuffled loader of random clips as bytes, as the model's config wants them.

    Broken videos are replaced.
    """
    from videozoo.data import BalancedSampler

    names = train.class_names
    if settings.hflip:
        note(describe_mirrors(names, mirror_labels(names)))
    if settings.vflip:
        note(describe_verticals(names, vertical_labels(names)))
    dataset = make_train_dataset(settings, model, train)
    sampler = BalancedSampler([record.label for record in train.records]) if settings.balanced_sampling else None
    return _make_loader(settings, dataset, shuffle=sampler is None, sampler=sampler)


def make_train_dataset(settings: Settings, model: "VideoNet | Ensemble", train: "VideoSource") -> "VideoDataset":
    """Return a data set of random clips as bytes.

    Broken videos are replaced.
    """
    from videozoo.data import VideoDataset, create_transform, resolve_data_config, sampling_options

    cfg = resolve_data_config(model)
    transform = create_transform(
        **cfg,
        is_training=True,
        normalize=False,
        hflip=settings.hflip,
        train_crop=settings.train_crop,
        flip_labels=(mirror_labels(train.class_names) if settings.hflip else {}) or None,
        vflip=settings.vflip,
        vflip_labels=(vertical_labels(train.class_names) if settings.vflip else {}) or None,
        **_crop_ranges(settings),
        train_resize=parse_size(settings.train_resize) or cfg["test_resize"],
        color_jitter=settings.color_jitter,
        auto_augment=settings.aa,
    )
    sampling = sampling_options(cfg, is_training=True)
    return VideoDataset(
        train.records,
        transform,
        **sampling,
        seed=settings.seed,
        num_classes=len(train.class_names),
        on_broken="replace",
    )


def _crop_ranges(settings: Settings) -> dict[str, Any]:
    """Return ``scale`` and ``ratio`` of random crops, where flags or a recipe give them."""
    values = {name: getattr(settings, name) for name in ("scale", "ratio")}
    return {name: (value[0], value[1]) for name, value in values.items() if value}


def make_val_loader(settings: Settings, model: "VideoNet | Ensemble", val: "VideoSource") -> "DataLoader[Any]":
    """Return a loader of every view of each video as bytes, in the order of the records.

    Broken videos are reported.
    """
    from videozoo.data import VideoDataset, create_transform, resolve_data_config, sampling_options

    num_clips, num_crops = parse_views(settings.val_views, "--val-views") or (None, None)
    cfg = resolve_data_config(model, test_num_clips=num_clips, test_num_crops=num_crops)
    transform = create_transform(**cfg, normalize=False)
    dataset = VideoDataset(
        val.records, transform, **sampling_options(cfg), num_classes=len(val.class_names), on_broken="report"
    )
    return _make_loader(settings, dataset)


def _make_loader(settings: Settings, dataset: Any, **options: Any) -> "DataLoader[Any]":
    import torch
    from torch.utils.data import DataLoader

    from videozoo.data import collate_clips

    return DataLoader(
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.workers,
        collate_fn=collate_clips,
        worker_init_fn=_start_worker,
        # Workers take seconds to start if not forked, and they cache the indexes of the files they have read.
        # Random draws do not depend on a worker's state. In a single epoch nobody needs them again.
        persistent_workers=settings.workers > 0 and settings.epochs > 1,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
        **options,
    )


def _start_worker(_worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM in workers, because the parent process still needs its batch."""
    return_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _go_later)


def _go_later(number: int, frame: Any) -> None:
    """Exit some time after the parent process should have ended."""
    if hasattr(signal, "alarm"):
        signal.alarm(WORKER_GRACE_SEC)
