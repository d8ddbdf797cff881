"""``videozoo finetune``: train a network on a folder or list of videos and keep everything in one run folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.command import Command, group
from videozoo.cli.console import (
    CommandError,
    first_process_first,
    is_main_process,
    note,
    num_processes,
    show_log,
)
from videozoo.cli.finetune_checks import check_stride
from videozoo.cli.finetune_flags import GROUPS
from videozoo.cli.outputs import hold_output
from videozoo.cli.run_settings import Settings, describe_lr, parse_frame_size, settle
from videozoo.extras import check_installed
from videozoo.files import recover_folder

if TYPE_CHECKING:
    from videozoo.data import VideoSource
    from videozoo.models import Ensemble, VideoNet

_NOT_OF_THIS_RUN = ("tag", "dataset", "train_recipe", "description", "origin_url", "metrics")


COMMAND = Command(
    "finetune",
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
    from videozoo.cli.finetune_fit import fit_model, make_config, say_result

    settings = settle(args)
    for tracker in settings.log_with or ():
        check_installed(f"--log-with {tracker}", tracker)
    show_log()
    config = make_config(settings)
    _check_name(settings)
    with hold_output(Path(settings.output), "a training run"):
        if is_main_process():
            recover_folder(Path(settings.output) / "last")
        train, val = _load_videos(settings)
        with first_process_first(settings.device):  # it downloads, the others find what it has fetched
            model = _make_model(settings, train.class_names)
        check_stride(settings, model)
        _say_start(settings, model)
        result = fit_model(settings, model, config, train, val)
    say_result(result)
    return 0


def _check_name(settings: Settings) -> None:
    from videozoo.models import model_entrypoint
    from videozoo.models.load import is_source

    if not settings.is_continued and not is_source(settings.model):
        model_entrypoint(settings.model)


def _load_videos(settings: Settings) -> "tuple[VideoSource, VideoSource]":
    from videozoo.cli.opening import open_all
    from videozoo.cli.videos import VAL_FOLDERS, find_split, load_train_and_val
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


def _make_model(settings: Settings, class_names: Sequence[str]) -> "VideoNet | Ensemble":
    """The network with the sampling and size of the flags in its config, as the run folder will keep it."""
    import torch

    import videozoo
    from videozoo.data import resolve_data_config
    from videozoo.models import WeightsError
    from videozoo.models.load import brings_weights

    torch.manual_seed(settings.seed)
    name, is_pretrained = settings.model, settings.pretrained or brings_weights(settings.model)
    if settings.is_continued:  # the engine loads the weights
        name, is_pretrained = f"local-dir:{Path(settings.output) / 'last'}", False
    kept = {
        "backbone_weights": settings.backbone_weights,
        "checkpoint_path": settings.initial_checkpoint,
        "init_from": settings.init_from,
    }
    try:
        model = videozoo.create_model(
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
        raise CommandError(f"{error} ({hint})") from error
    resolve_data_config(model)  # a wrong size or sampling is told here
    if not (is_pretrained or settings.is_continued or any(kept.values())):
        _open_branches(model)
    if _brings_start(settings) and not settings.is_continued:
        _match_classifier(model, class_names)
    if settings.grad_checkpointing:
        model.set_grad_checkpointing()
    return model


def _match_classifier(model: "VideoNet | Ensemble", class_names: Sequence[str]) -> None:
    """Bring the classifier of the start into the order of the classes of the data; of other classes, replace it."""
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


def _say_start(settings: Settings, model: "VideoNet | Ensemble") -> None:
    note(_describe_start(settings, model))
    note(_describe_machine(settings, model))
    is_bare = not (settings.is_continued or _brings_start(settings))
    if settings.start_from and is_bare:
        note(f"recipe {settings.recipe}: {settings.start_from}")
    if settings.grad_accum_steps > 1 or num_processes() > 1:
        note(
            f"{settings.global_batch} clips a step: batch size {settings.batch_size} x {settings.grad_accum_steps} "
            f"batches x {num_processes()} processes"
        )
    if describe_lr(settings):
        note(describe_lr(settings))


def _brings_start(settings: Settings) -> bool:
    """Whether the whole network starts from weights, not the backbone alone."""
    from videozoo.models.load import brings_weights

    is_given = settings.pretrained or settings.initial_checkpoint or settings.init_from
    return bool(is_given or brings_weights(settings.model))


def _open_branches(model: "VideoNet | Ensemble") -> None:
    """Give the last norm of each residual branch, which timm starts at zero, the weight one.

    Time is seen in the branches alone: closed ones leave a short training from scratch without it. On the generated
    motions arc_tsm_r18 reached 0.84 within pairs after 6 epochs with open branches, 0.53 with closed ones.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.weight is not None and not module.weight.any():
            torch.nn.init.ones_(module.weight)


def _config_overlay(settings: Settings) -> dict[str, Any]:
    from videozoo.cli.videos import parse_views

    overlay = {
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
    if not settings.is_continued:  # they are about the weights that it starts from
        overlay |= dict.fromkeys(_NOT_OF_THIS_RUN)
    if settings.img_size is not None:
        overlay |= {"input_size": (3, settings.img_size, settings.img_size)}
        # The network's own are for its own size.
        overlay |= {"test_crop_size": settings.test_crop_size, "test_resize": parse_frame_size(settings.test_resize)}
    return overlay


def _describe_machine(settings: Settings, model: "VideoNet | Ensemble") -> str:
    import torch

    params = sum(parameter.numel() for parameter in model.parameters())
    device = settings.device
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = "cpu" if found is None else found.type
    where = f"cpu ({torch.get_num_threads()} threads)" if device.startswith("cpu") else device
    precision = settings.amp_dtype if settings.amp else "float32"
    return f"{params / 1e6:.2f} million parameters, on {where}, in {precision}"


def _describe_start(settings: Settings, model: "VideoNet | Ensemble") -> str:
    from videozoo.models.load import brings_weights

    size = model.pretrained_cfg["input_size"]
    if settings.is_continued:
        start = f"continued from {Path(settings.output) / 'last'}"
    elif settings.init_from:
        start = f"starting from its base {settings.init_from}"
    elif brings_weights(settings.model) or settings.pretrained or settings.initial_checkpoint:
        start = f"starting from the weights of {settings.initial_checkpoint or settings.model}"
    elif settings.backbone_weights:
        start = f"its backbone starting from {settings.backbone_weights}"
    else:
        tag = _image_weights(settings.model)
        start = "from scratch" + (f" (--backbone-weights {tag} starts from ImageNet)" if tag else "")
    return f"{settings.model}, {model.num_frames} frames of {size[1]}x{size[2]}, {start}"


def _image_weights(name: str) -> str | None:
    """Return the tag of ImageNet weights for a model's backbone: torchvision's if there are some, else timm's first."""
    import timm

    from videozoo.models.registry import spec_of
    from videozoo.models.spec import EnsembleSpec

    spec = spec_of(name)
    backbone = (spec.members[0] if isinstance(spec, EnsembleSpec) else spec).backbone
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{backbone}.*")]
    return "tv_in1k" if "tv_in1k" in tags else next(iter(tags), None)
