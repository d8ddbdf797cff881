"""Checks of finetune's flags before anything starts.

Flags without effect are refused.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from videozoo.arguments import UsageError, flag_of

from .settings import Settings

if TYPE_CHECKING:
    from videozoo.models import Ensemble, VideoNet

_BY_ONE_CLASS = ("class_weights", "balanced_sampling")
_FALLING = ("cosine", "poly", "tanh", "wsd", "rsqrt")


def check_effects(settings: Settings, given: Iterable[str]) -> None:
    """Refuse flags that have no effect in combination with the others.

    Args:
        given: names of the flags that were given.
    Raises:
        UsageError: names the flag and what it needs.
    """
    needs = _needs(settings)
    for name in given:
        if name in needs and getattr(settings, name) not in (None, False):
            raise UsageError(f"finetune: {flag_of(name)} has no effect here; it {needs[name]}.")


def check_stride(settings: Settings, model: "VideoNet | Ensemble") -> None:
    """Refuse ``--frame-stride`` for a model whose frames are spread over the video.

    Raises:
        UsageError: the sampling is not dense.
    """
    sampling = model.pretrained_cfg["frame_sampling"]
    if "frame_stride" in settings.given and settings.frame_stride is not None and sampling != "dense":
        raise UsageError(
            f"finetune: --frame-stride has no effect with {sampling} sampling, which spreads the frames over the "
            "video; add --frame-sampling dense."
        )


def check_frozen(settings: Settings) -> None:
    """Refuse to freeze a backbone that does not start from weights.

    Raises:
        UsageError: the backbone would start from random weights.
    """
    if settings.freeze_backbone and settings.from_scratch:
        raise UsageError(
            "finetune: --freeze-backbone needs weights to start from, and random ones would be frozen; name some with "
            "--backbone-weights, or --model RUN/best."
        )


def whole_starts(values: Mapping[str, Any]) -> list[str]:
    """Return the settings that give weights to the whole model, not to its backbone alone."""
    from videozoo.models.load import brings_weights

    given = [name for name in ("initial_checkpoint", "init_from", "pretrained") if values.get(name)]
    return given + ["model"] * brings_weights(values.get("model") or "")


def _needs(settings: Settings) -> dict[str, str]:
    """Return what each flag needs that would have no effect, by its name."""
    from videozoo.engine.optim import settings_without_effect

    sched = settings.sched
    mixes = (settings.mixup > 0) + (settings.cutmix > 0)
    rules: list[tuple[bool, str, tuple[str, ...]]] = [
        (not settings.amp, "needs --amp", ("amp_dtype",)),
        (sched != "multistep", "is for --sched multistep", ("decay_milestones",)),
        (sched not in ("step", "wsd", "rsqrt"), "is for --sched step, wsd or rsqrt", ("decay_epochs",)),
        (sched not in ("step", "multistep"), "is for --sched step or multistep", ("decay_rate",)),
        (sched not in _FALLING, f"is for --sched {', '.join(_FALLING)}", ("min_lr",)),
        (settings.warmup_epochs == 0, "needs --warmup-epochs", ("warmup_lr",)),
        (sched == "none", "needs a --sched", ("warmup_epochs", "warmup_lr")),
        (not settings.model_ema, "needs --model-ema", ("model_ema_decay", "model_ema_warmup")),
        (settings.lr_base is None, "needs --lr-base", ("lr_base_size",)),
        (settings.train_crop != "rrc", "needs --train-crop rrc", ("scale", "ratio")),
        (mixes == 0, "needs --mixup or --cutmix", ("mixup_prob",)),
        (mixes < 2, "needs --mixup and --cutmix", ("mixup_switch_prob",)),
        (settings.reprob == 0, "needs --reprob", ("remode",)),
        (settings.multi_label, "is the loss of --multi-label already", ("bce_loss",)),
        (not (settings.bce_loss or settings.multi_label), "needs --bce-loss or --multi-label", ("bce_target_thresh",)),
        (settings.bce_loss, "is for cross entropy, not --bce-loss", ("class_weights",)),
        (settings.multi_label, "goes by the one class of a video, not --multi-label", _BY_ONE_CLASS),
        (settings.test_resize is not None, "sets the test frames, as --test-resize does", ("crop_pct",)),
        (
            bool(settings.val or settings.val_split),
            "is for runs without --val and --val-split",
            ("val_frac", "val_group"),
        ),
    ]
    found = {name: what for holds, what, names in rules if holds for name in names}
    for name in ("init_from", "pretrained", "backbone_weights"):
        for other in whole_starts(vars(settings)):
            if other != name and (name, other) != ("pretrained", "model"):
                start = f"--model {settings.model}" if other == "model" else flag_of(other)
                found.setdefault(name, f"is for runs that do not start from the weights of {start}")
    starts = [*whole_starts(vars(settings)), *(["backbone_weights"] if settings.backbone_weights else [])]
    if starts:
        start = f"--model {settings.model}" if starts[0] == "model" else flag_of(starts[0])
        found["from_scratch"] = f"is for runs that do not start from the weights of {start}"
    return found | dict.fromkeys(settings_without_effect(settings.opt), f"is for other optimizers than {settings.opt}")
