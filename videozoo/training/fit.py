"""Training: settings and videos become loaders and batches, and the engine trains."""

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.arguments import UsageError, flag_of

from .loaders import make_train_dataset, make_train_loader, make_val_loader
from .resolve_settings import resolve_lr, write_settings
from .run_log import note
from .settings import Settings

if TYPE_CHECKING:
    from videozoo.data import TrainBatch, VideoSource
    from videozoo.engine import FitConfig, FitResult
    from videozoo.models import Ensemble, VideoNet

ADAM_ARC_SCALE = 0.02


def make_config(settings: Settings) -> "FitConfig":
    """Return the engine's config.

    The weights of the classes come with the videos.
    """
    import torch

    from videozoo.engine import FitConfig
    from videozoo.engine.optim import check_training
    from videozoo.fit_config import SettingError

    names = {field.name for field in dataclasses.fields(FitConfig)} - {"amp", "class_weights"}
    values = {name: value for name, value in vars(settings).items() if name in names and value is not None}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    amp = {"bfloat16": "bf16", "float16": "fp16"}[settings.amp_dtype] if settings.amp else "no"
    if amp == "fp16" and (settings.device == "cpu" or not torch.accelerator.is_available()):
        raise UsageError("finetune: --amp-dtype is float16, which needs a GPU; take bfloat16 on the CPU.")
    try:
        config = FitConfig(amp=amp, **values)
        check_training(config)
    except SettingError as error:
        raise UsageError(f"finetune: {flag_of(error.name)} {error.problem}.") from error
    return config


def fit_model(
    settings: Settings, model: "VideoNet | Ensemble", config: "FitConfig", train: "VideoSource", val: "VideoSource"
) -> "FitResult":
    """Train a model on videos into the run folder.

    Raises:
        Stopped: (a KeyboardInterrupt) Ctrl-C or SIGTERM, after the folder is in order.
    """
    from videozoo.engine import fit
    from videozoo.models import model_config

    from .pictures import RunPictures

    scale = _addon_lr_scale(settings, model)
    config = dataclasses.replace(config, class_weights=_class_weights(settings, train), addon_lr_scale=scale)
    train_batch = _train_batch(settings, model, train)
    train_loader = make_train_loader(settings, model, train)
    val_loader = make_val_loader(settings, model, val)
    pictures = RunPictures(
        Path(settings.output),
        model,
        train_batch,
        class_names=train.class_names,
        val=val.records,
        is_continued=settings.resume,
    )
    with contextlib.closing(pictures):
        return fit(
            model,
            train_loader,
            val_loader,
            config,
            Path(settings.output),
            class_names=train.class_names,
            model_config=model_config(model, class_names=train.class_names),
            resume=settings.resume,
            on_start=lambda: write_settings(settings),
            on_result=pictures.on_result,
            train_batch=pictures.train_batch,
            eval_batch=train_batch.normalizer,
            train_names=[record.name or str(record.path) for record in train.records],
        )


def choose_batch_size(
    settings: Settings, model: "VideoNet | Ensemble", config: "FitConfig", train: "VideoSource"
) -> "FitConfig":
    """Set the largest batch size that fits in memory, and the learning rate that follows from it.

    Returns:
        the engine's settings with that learning rate.
    Raises:
        EngineError: there is no memory for one clip.
    """
    from videozoo.data import collate_clips
    from videozoo.engine.batch_size import find_batch_size

    item = make_train_dataset(settings, model, train)[0]
    size, why = find_batch_size(
        model,
        config,
        lambda count: collate_clips([item] * count),
        len(train.records),
        _train_batch(settings, model, train),
    )
    settings.batch_size = size
    note(f"batch size {size}: {why}")
    resolve_lr(settings)
    return make_config(settings)


def _train_batch(settings: Settings, model: "VideoNet | Ensemble", train: "VideoSource") -> "TrainBatch":
    from videozoo.data import ClipNormalizer, TrainBatch, resolve_data_config

    mixing = ("mixup", "cutmix", "mixup_prob", "mixup_switch_prob", "smoothing", "reprob", "remode")
    values = {name: getattr(settings, name) for name in mixing}
    return TrainBatch(ClipNormalizer.of(resolve_data_config(model)), num_classes=len(train.class_names), **values)


def _addon_lr_scale(settings: Settings, model: "VideoNet | Ensemble") -> float:
    """Return the flag or, without it, a lower rate for ARC where steps are normalized, as Adam's are.

    Its maps start at zero and move too fast there (benchmarks/evidence.md). The paper trains with SGD.
    """
    from videozoo.augment import ARC
    from videozoo.engine.optim import settings_without_effect

    if settings.addon_lr_scale is not None:
        return settings.addon_lr_scale
    members = getattr(model, "members", [model])
    has_arc = any(isinstance(part, ARC) for member in members for part in member.spec.augmenters)
    if not has_arc or "opt_betas" in settings_without_effect(settings.opt):
        return 1.0
    note(f"ARC trains at {ADAM_ARC_SCALE:g} times the rate, as --opt is {settings.opt}; --addon-lr-scale sets it")
    return ADAM_ARC_SCALE


def _class_weights(settings: Settings, train: "VideoSource") -> tuple[float, ...] | None:
    from videozoo.data import class_weights

    if settings.class_weights is None:
        return None
    if settings.class_weights == "balanced":
        labels = [record.label for record in train.records]
        return tuple(class_weights(labels, len(train.class_names)).tolist())
    path = Path(settings.class_weights).expanduser()
    try:
        weights = tuple(float(line) for line in path.read_text(encoding="utf-8-sig").split())
    except ValueError as error:
        raise UsageError(f"{path}: {error}; --class-weights needs one number a line, or `balanced`.") from error
    if len(weights) != len(train.class_names):
        raise UsageError(f"{path}: {len(weights)} weights for {len(train.class_names)} classes; give one a class.")
    return weights
