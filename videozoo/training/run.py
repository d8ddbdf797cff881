"""Training from settings to result: check everything, then train.

Heavy imports inside.
"""

from collections import Counter
from typing import TYPE_CHECKING

from videozoo.arguments import UsageError, flag_of
from videozoo.extras import check_installed
from videozoo.files import recover_folder
from videozoo.launch import is_main_process

from .checks import check_frozen, check_stride
from .fit import choose_batch_size, fit_model, make_config
from .model import log_start
from .paper_optimizer import suggest_optimizer, take_optimizer
from .probe_videos import open_all
from .run_log import note, warn
from .run_output import hold_run
from .settings import AUTO, Settings
from .sources import VAL_FOLDERS, find_split, load_train_and_val
from .start import check_same_start, choose_model, make_started_model

if TYPE_CHECKING:
    from videozoo.data import VideoSource
    from videozoo.engine import FitResult


FEW_VIDEOS = 50  # validation videos


def run_training(settings: Settings) -> "FitResult":
    """Train a model on videos and keep everything in one run folder.

    Raises:
        UsageError: settings or videos that do not fit.
        WeightsError, UnknownModelError, SourceError, JobError, EngineError: raised by the functions that it calls.
        Stopped: (a KeyboardInterrupt) Ctrl-C or SIGTERM. The run can be continued.
    """
    from videozoo.engine.distributed import first_process_first
    from videozoo.models import model_entrypoint
    from videozoo.models.load import is_location

    for tracker in settings.log_with or ():
        check_installed(f"--log-with {tracker}", tracker)
    config = make_config(settings)
    if settings.model and not settings.is_continued and not is_location(settings.model):
        model_entrypoint(settings.model)  # fail early on an unknown name
    with hold_run(settings) as output:
        if is_main_process():
            recover_folder(output / "last")
        train, val = _load_videos(settings)
        with first_process_first(settings.device):  # it downloads, and the others use its cache
            if not settings.model:
                choose_model(settings)
                take_optimizer(settings)
                config = make_config(settings)
            elif not settings.is_continued:
                suggest_optimizer(settings)
            model = make_started_model(settings, train.class_names)
        check_same_start(settings)
        check_frozen(settings)
        check_stride(settings, model)
        if settings.batch_size == AUTO:
            config = choose_batch_size(settings, model, config, train)
        log_start(settings, model, config)
        return fit_model(settings, model, config, train, val)


def _load_videos(settings: Settings) -> "tuple[VideoSource, VideoSource]":
    for name in ("val_frac", "val_group"):
        if name in settings.given and find_split(settings.data, VAL_FOLDERS):
            raise UsageError(
                f"finetune: {flag_of(name)} has no effect here; {settings.data} has a folder to validate on."
            )
    train, val = load_train_and_val(
        settings.data,
        settings.val,
        data_root=settings.data_root,
        names_file=settings.class_names,
        val_frac=settings.val_frac,
        val_group=settings.val_group,
        data_format=settings.data_format,
        splits=(settings.split, settings.val_split),
        multi_label=settings.multi_label,
    )
    open_all(train.records, val.records, max_bad_frac=settings.max_bad_frac)
    is_listed = {train.data_format, val.data_format} - {"class_folders", "shards"}
    if "data_root" in settings.given and settings.data_root and not is_listed:
        raise UsageError("finetune: --data-root has no effect here; it is for the paths in lists.")
    _check_indices(train, val)
    note(_describe_videos(train, val))
    if len(val.records) < FEW_VIDEOS:
        message = f"accuracies on {len(val.records)} validation videos say little: one video is "
        message += f"{100 / len(val.records):.1f} points"
        if val.multi_label:
            message = f"mAP on {len(val.records)} validation videos says little"
        warn(f"{message}; take {FEW_VIDEOS} or more to compare models")
    return train, val


def _describe_videos(train: "VideoSource", val: "VideoSource") -> str:
    """Return how many videos there are, and how many of the largest and the smallest class."""
    names = train.class_names
    text = f"{len(train.records)} training and {len(val.records)} validation videos of {len(names)} classes"
    counts = Counter(label for record in train.records for label in record.classes)
    ranked = sorted(range(len(names)), key=lambda label: counts[label])
    least, most = counts[ranked[0]], counts[ranked[-1]]
    if least == most:
        return f"{text}, {most} for training in each"
    return f"{text}, {least} ({names[ranked[0]]}) to {most} ({names[ranked[-1]]}) for training in each"


def _check_indices(train: "VideoSource", val: "VideoSource") -> None:
    """Refuse class indices that leave most classes empty. One mistyped index would make thousands of them.

    Raises:
        UsageError: names the largest index and where it is.
    """
    records = [*train.records, *val.records]
    used = {label for record in records for label in record.classes}
    names = train.class_names
    if len(names) <= 2 * len(used) or names != tuple(map(str, range(len(names)))):
        return
    index = max(used)
    largest = next(record for record in records if index in record.classes)
    raise UsageError(
        f"{largest.source}: class index {index} makes {len(names)} classes, of which {len(used)} have videos; "
        "correct it, number the classes from 0, or name them all with --class-names FILE."
    )
