"""``videozoo finetune``: train a network on a folder or list of videos and keep everything in one run folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.cli.command import Command, group
from videozoo.cli.console import (
    CommandError,
    first_process_first,
    is_main_process,
    note,
    show_log,
)
from videozoo.cli.finetune_checks import check_stride
from videozoo.cli.finetune_fit import fit_model, make_config, say_result
from videozoo.cli.finetune_flags import GROUPS, Settings
from videozoo.cli.finetune_model import make_model, say_start
from videozoo.cli.outputs import hold_output
from videozoo.cli.run_settings import settle
from videozoo.extras import check_installed
from videozoo.files import recover_folder

if TYPE_CHECKING:
    from videozoo.data import VideoSource


COMMAND = Command(
    help="train a network on your videos",
    usage="videozoo finetune --model NAME --data DIR_OR_LIST --output RUN [flags]",
    description="Train a network on a folder root/CLASS/VIDEO.mp4 or a list of `path label` lines. "
    "The run folder holds weights (last, best), summary.csv, results.json, curves.png and confusion.png; "
    "RUN/best is a model: videozoo predict --model local-dir:RUN/best FILE...",
    epilog="Example: videozoo finetune --model arc_tsm_r18 --data my_videos --output run --epochs 20. With several "
    "GPUs: torchrun --nproc-per-node 2 -m videozoo finetune ... See docs/training.md.",
    flags=tuple(group(title, *flags) for title, flags in GROUPS.items()),
)


def run(args: argparse.Namespace) -> int:
    """Check everything, then train."""
    settings = settle(args)
    from videozoo.models import model_entrypoint
    from videozoo.models.load import is_source

    for tracker in settings.log_with or ():
        check_installed(f"--log-with {tracker}", tracker)
    show_log()
    config = make_config(settings)
    if not settings.is_continued and not is_source(settings.model):
        model_entrypoint(settings.model)  # an unknown name is told now
    with hold_output(Path(settings.output), "a training run"):
        if is_main_process():
            recover_folder(Path(settings.output) / "last")
        train, val = _load_videos(settings)
        with first_process_first(settings.device):  # it downloads, the others find what it has fetched
            model = make_model(settings, train.class_names)
        check_stride(settings, model)
        say_start(settings, model)
        result = fit_model(settings, model, config, train, val)
    say_result(result)
    return 0


def _load_videos(settings: Settings) -> "tuple[VideoSource, VideoSource]":
    from videozoo.cli.opening import open_all
    from videozoo.cli.sources import VAL_FOLDERS, find_split, load_train_and_val
    from videozoo.data.labels import read_names

    if "val_frac" in settings.given and find_split(Path(settings.data), VAL_FOLDERS):
        raise CommandError(f"finetune: --val-frac has no effect here; {settings.data} has a folder to validate on.")
    train, val = load_train_and_val(
        settings.data,
        settings.val,
        data_root=settings.data_root,
        class_names=read_names(settings.class_names).names if settings.class_names else None,
        val_frac=settings.val_frac,
        data_format=settings.data_format,
        splits=(settings.split, settings.val_split),
    )
    open_all(train.records, val.records, max_bad_frac=settings.max_bad_frac)
    is_listed = {train.data_format, val.data_format} - {"class_folders", "shards"}
    if "data_root" in settings.given and settings.data_root and not is_listed:
        raise CommandError("finetune: --data-root has no effect here; it is for the paths in lists.")
    _check_indices(train, val)
    note(f"{len(train.records)} training and {len(val.records)} validation videos of {len(train.class_names)} classes")
    return train, val


def _check_indices(train: "VideoSource", val: "VideoSource") -> None:
    """Refuse class indices that leave most classes empty: one mistyped index would make thousands of them.

    Raises:
        CommandError: names the largest index and where it is.
    """
    records = [*train.records, *val.records]
    used = {record.label for record in records}
    names = train.class_names
    if len(names) <= 2 * len(used) or names != tuple(map(str, range(len(names)))):
        return
    largest = max(records, key=lambda record: record.label)
    raise CommandError(
        f"{largest.source}: class index {largest.label} makes {len(names)} classes, of which {len(used)} have videos; "
        "correct it, number the classes from 0, or name them all with --class-names FILE."
    )
