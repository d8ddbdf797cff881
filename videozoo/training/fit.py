"""The training itself: settings and videos become loaders and batches, and the engine does the rest."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from videozoo.arguments import UsageError, flag_of

from .loaders import make_train_loader, make_val_loader
from .settings import Settings
from .settle import write_settings

if TYPE_CHECKING:
    from videozoo.data import VideoSource
    from videozoo.engine import FitConfig, FitResult
    from videozoo.models import Ensemble, VideoNet


def make_config(settings: Settings) -> "FitConfig":
    """What the engine is told; the weights of the classes come with the videos."""
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
    """Train a network on videos into the run folder.

    Raises:
        Stopped: (a KeyboardInterrupt) Ctrl-C or SIGTERM, after the folder is in order.
    """
    from videozoo.data import ClipNormalizer, TrainBatch, resolve_data_config
    from videozoo.engine import fit
    from videozoo.models import model_config

    config = dataclasses.replace(config, class_weights=_class_weights(settings, train))
    mixing = ("mixup", "cutmix", "mixup_prob", "mixup_switch_prob", "smoothing", "reprob", "remode")
    normalizer = ClipNormalizer.of(resolve_data_config(model))
    train_batch = TrainBatch(
        normalizer, num_classes=len(train.class_names), **{name: getattr(settings, name) for name in mixing}
    )
    train_loader = make_train_loader(settings, model, train)
    val_loader = make_val_loader(settings, model, val)
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
        train_batch=train_batch,
        eval_batch=normalizer,
        train_names=[record.name or str(record.path) for record in train.records],
    )


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
