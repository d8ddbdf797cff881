"""Creation and description of the model that ``videozoo finetune`` trains.

Heavy imports inside.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.arguments import UsageError
from videozoo.launch import num_processes

from .checks import whole_starts
from .resolve_settings import describe_lr
from .run_log import note
from .settings import Settings
from .sizes import parse_frame_size, parse_views

if TYPE_CHECKING:
    from videozoo.fit_config import FitConfig
    from videozoo.models import Ensemble, VideoNet

_CLIPS = (
    *("frame_sampling", "frame_stride", "input_size", "crop_pct"),
    *("test_num_clips", "test_num_crops", "test_crop_size", "test_resize"),
)
_NOT_OF_THIS_RUN = ("tag", "dataset", "train_recipe", "description", "origin_url", "metrics")


def make_model(settings: Settings, class_names: Sequence[str]) -> "VideoNet | Ensemble":
    """Return the model with the sampling and size of the flags in its config, as the run folder will keep it."""
    import torch

    from videozoo.data import resolve_data_config
    from videozoo.models import WeightsError, create_model

    torch.manual_seed(settings.seed)
    starts = whole_starts(vars(settings))
    name, is_pretrained = settings.model, "pretrained" in starts or "model" in starts
    if settings.is_continued:  # the engine loads the weights
        name, is_pretrained = f"local-dir:{Path(settings.output) / 'last'}", False
    kept = {
        "backbone_weights": settings.backbone_weights,
        "checkpoint_path": settings.initial_checkpoint,
        "init_from": settings.init_from,
    }
    try:
        model = create_model(
            name,
            pretrained=is_pretrained,
            pretrained_cfg_overlay=_config_overlay(settings),
            num_classes=len(class_names),
            num_frames=settings.num_frames,
            drop_rate=settings.drop,
            drop_path_rate=settings.drop_path,
            causal=settings.causal or None,
            **({} if settings.is_continued else kept),
        )
    except WeightsError as error:
        if settings.is_continued or not (settings.recipe and settings.backbone_weights):
            raise
        hint = f"recipe {settings.recipe} asks for them; --backbone-weights FILE or none goes before it"
        raise UsageError(f"{error} ({hint})") from error
    resolve_data_config(model)  # raises for a wrong size or sampling
    if starts and not settings.is_continued:
        _match_classifier(model, class_names)
    elif not (settings.is_continued or settings.backbone_weights):
        _open_branches(model)
    model.pretrained_cfg.pop("multi_label", None)  # of the start
    if settings.multi_label:
        model.pretrained_cfg["multi_label"] = True
    if settings.grad_checkpointing:
        model.set_grad_checkpointing()
    return model


def _match_classifier(model: "VideoNet | Ensemble", class_names: Sequence[str]) -> None:
    """Reorder the classifier of the start for the classes of the data, or replace it if they differ."""
    import torch

    from videozoo.names import clean_name

    old = [clean_name(name) for name in model.pretrained_cfg.get("label_names") or ()]
    if not old or old == list(class_names):
        return
    linear = [part for part in model.get_classifier().modules() if isinstance(part, torch.nn.Linear)]
    if set(old) != set(class_names) or any(part.out_features != len(old) for part in linear):
        note("the classifier is a new one: the classes of the data are not those of the start")
        model.reset_classifier(len(class_names))
        return
    order = [old.index(name) for name in class_names]
    with torch.no_grad():
        for value in (value for part in linear for value in part.parameters()):
            value.copy_(value[order])
    model.pretrained_cfg["label_names"] = tuple(class_names)
    note("the classifier's classes are put into the order of the data's")


def _open_branches(model: "VideoNet | Ensemble") -> None:
    """Set the last norm's weight of each residual branch, which timm initializes with zero, to one.

    Time is seen in the branches alone: closed ones leave a short training from scratch without it. On the generated
    motions arc_tsm_r18 reached 0.84 within pairs after 6 epochs with open branches, 0.53 with closed ones.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.weight is not None and not module.weight.any():
            torch.nn.init.ones_(module.weight)


def _config_overlay(settings: Settings) -> dict[str, Any]:
    overlay: dict[str, Any] = {
        "frame_sampling": settings.frame_sampling,
        "frame_stride": settings.frame_stride,
        "crop_pct": settings.crop_pct,
        "test_crop_size": settings.test_crop_size,
        "test_resize": parse_frame_size(settings.test_resize),
    }
    views = parse_views(settings.test_views, "--test-views")
    if views is not None:
        overlay |= {"test_num_clips": views[0], "test_num_crops": views[1]}
    overlay = {key: value for key, value in overlay.items() if value is not None}
    if settings.default_start:  # weights that nobody named do not change the clips
        from videozoo.models import get_pretrained_cfg

        own = get_pretrained_cfg(settings.model)
        overlay = {name: getattr(own, name) for name in _CLIPS} | overlay
    if not settings.is_continued:  # they are about the weights that it starts from
        overlay |= dict.fromkeys(_NOT_OF_THIS_RUN)
    if settings.img_size is not None:
        overlay |= {"input_size": (3, settings.img_size, settings.img_size)}
        # The model's own are for its own size.
        overlay |= {"test_crop_size": settings.test_crop_size, "test_resize": parse_frame_size(settings.test_resize)}
    return overlay


def log_start(settings: Settings, model: "VideoNet | Ensemble", config: "FitConfig") -> None:
    """Log the model, its start, the data and the size of the steps."""
    note(_describe_start(settings, model))
    note(_describe_machine(model, config))
    if settings.start_from and not settings.is_continued and not whole_starts(vars(settings)):
        note(f"recipe {settings.recipe}: {settings.start_from}")
    if settings.grad_accum_steps > 1 or num_processes() > 1:
        note(
            f"{settings.global_batch} clips a step: batch size {settings.batch_size} x {settings.grad_accum_steps} "
            f"batches x {num_processes()} processes"
        )
    if line := describe_lr(settings):
        note(line)
    if config.sched != "none" and config.warmup_epochs >= config.epochs:
        note(
            f"the whole training is warm-up: --epochs is {config.epochs} and --warmup-epochs {config.warmup_epochs:g}; "
            "take more epochs or a shorter warm-up"
        )


def _describe_machine(model: "VideoNet | Ensemble", config: "FitConfig") -> str:
    from videozoo.devices import describe_device
    from videozoo.engine.device import make_accelerator

    params = sum(parameter.numel() for parameter in model.parameters())
    device = make_accelerator(config.amp, config.device).device
    return f"{params / 1e6:.2f} million parameters, {describe_device(device, config.amp)}"


def _describe_start(settings: Settings, model: "VideoNet | Ensemble") -> str:
    size = model.pretrained_cfg["input_size"]
    if settings.is_continued:
        start = f"continued from {Path(settings.output) / 'last'}"
    elif settings.init_from:
        start = f"starting from its base {settings.init_from}"
    elif settings.default_start and settings.pretrained:
        start = f"starting from the weights of {settings.default_start}"
    elif whole_starts(vars(settings)):
        start = f"starting from the weights of {settings.initial_checkpoint or settings.model}"
    elif settings.backbone_weights:
        start = f"its backbone starting from {settings.backbone_weights}"
    else:
        from videozoo.models.default_start import image_weights

        tag = image_weights(settings.model)
        start = "from scratch"
        if tag and "from_scratch" in settings.given:
            start += f" (--backbone-weights {tag} starts from ImageNet)"
        elif tag:  # the default start has just failed
            start += " (or from a file: --backbone-weights FILE)"
    if settings.default_start:
        start += " (by default; --from-scratch, --backbone-weights or --init-from choose another start)"
    return f"{settings.model}, {model.num_frames} frames of {size[1]}x{size[2]}, {start}"
