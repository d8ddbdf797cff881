"""The settings of a training run, under timm's names."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from videozoo.choices import AMP_KINDS, EVAL_METRICS, SCHEDULES, TRACKERS
from videozoo.ranges import RANGES, describe_problem

__all__ = ["FitConfig", "SettingError"]


class SettingError(ValueError):
    """A setting that cannot be used.

    Args:
        name: of the setting, as in `FitConfig`.
        problem: what is wrong with it, such as ``"is -1; it must be more than 0"``.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"FitConfig: {name} {problem}.")
        self.name, self.problem = name, problem


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of a training: optimizer, schedule, precision and averaging, named as timm's flags.

    Args:
        epochs: passes over the training loader, warm-up included.
        opt: any optimizer of ``timm.optim.list_optimizers()``.
        lr: peak learning rate. It is not scaled by the batch size.
        weight_decay: not applied to one-dimensional parameters and to those of ``model.no_weight_decay()``.
        momentum: for optimizers that have one.
        opt_betas, opt_eps: for optimizers that have them. None takes the optimizer's own.
        layer_decay: factor in (0, 1] of the learning rate per layer group from the head down (``model.group_matcher``).
        head_lr_scale: factor of the learning rate of the classifier (``model.get_classifier()``), in addition to
            ``layer_decay``.
        addon_lr_scale: the same for what ARC, DNR or TPN added to the model.
        sched: one of ``cosine constant step multistep poly tanh wsd rsqrt none``, updated at every optimizer step.
        warmup_epochs: epochs, or fractions of one, of the linear rise from ``warmup_lr`` to ``lr``.
        warmup_lr: learning rate at the start of the warm-up.
        min_lr: learning rate at the end of a falling schedule.
        decay_milestones, decay_epochs, decay_rate: epochs and factor of the decays (``multistep`` and ``step``).
        clip_grad: largest norm of the whole gradient. None does not clip.
        smoothing: label smoothing in [0, 1).
        multi_label: a clip may have several classes, or none. Targets are multi-hot, the loss is binary cross entropy,
            and the scores are sigmoids, measured by mAP.
        bce_loss: binary cross entropy in place of cross entropy for clips of one class, averaged over the classes.
        bce_target_thresh: set targets of binary cross entropy to 1 above this value and to 0 elsewhere. None keeps
            them.
        grad_accum_steps: loader batches per optimizer step. Equals one batch of that many times the size.
        amp: ``no``, ``bf16`` or ``fp16`` (a GPU only).
        freeze_backbone: train only the classifier and what a temporal module or augmenter added to the backbone. Norms
            of the backbone keep their statistics.
        freeze_bn: keep the statistics, scale and shift of every norm that has running statistics.
        model_ema, model_ema_decay, model_ema_warmup: moving average of the weights, which is then evaluated.
        sync_bn: compute batch statistics over the batches of all processes.
        channels_last: keep the weights and inputs of convolutions with channels innermost, which is faster on some
            machines.
        compile: train and evaluate through ``torch.compile``. Checkpoints keep the keys of the model.
        class_weights: a weight of the loss per class, as ``videozoo.data.class_weights`` returns. The mean over the
            classes is usually 1. None: all 1.
        eval_metric: ``top1`` or ``mean_class``, for a multi-label run ``map``: the metric of the best epoch. Empty:
            ``top1`` or ``map``.
        patience: stop after this many epochs without a better ``eval_metric``. None trains all ``epochs``.
        max_bad_frac: fraction of the training videos that may be broken before the run stops.
        checkpoint_hist: number of epochs whose weights are kept: 1 keeps ``best`` alone, N > 1 also the N best ones in
            ``epoch-K`` folders.
        checkpoint_minutes: minutes between checkpoints within an epoch. 0 writes one after every step.
        log_with: trackers of accelerate that get the values of summary.csv: ``tensorboard``, ``wandb``.
        seed: seed of every random draw of the engine, together with the epoch's number.
        log_interval: optimizer steps between progress lines. Slow steps are also logged by time.
        device: ``auto`` (accelerate's choice) or a name of torch, as in `make_accelerator`.
    Raises:
        SettingError: (a ValueError) a value out of its range. The message has its name.
    Example:
        >>> from videozoo import FitConfig
        >>> FitConfig(epochs=20, lr=1e-3, sched="cosine", model_ema=True).eval_metric
        'top1'
        >>> FitConfig(lr=-1)
        Traceback (most recent call last):
        ...
        videozoo.fit_config.SettingError: FitConfig: lr is -1; ...
    """

    epochs: int = 30
    opt: str = "adamw"
    lr: float = 5e-4
    weight_decay: float = 0.05
    momentum: float = 0.9
    opt_betas: tuple[float, ...] | None = None
    opt_eps: float | None = None
    layer_decay: float | None = None
    head_lr_scale: float = 1.0
    addon_lr_scale: float = 1.0
    sched: str = "cosine"
    warmup_epochs: float = 1.0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    decay_milestones: tuple[float, ...] = ()
    decay_epochs: float | None = None
    decay_rate: float = 0.1
    clip_grad: float | None = None
    smoothing: float = 0.0
    multi_label: bool = False
    bce_loss: bool = False
    bce_target_thresh: float | None = None
    grad_accum_steps: int = 1
    amp: str = "no"
    freeze_backbone: bool = False
    freeze_bn: bool = False
    model_ema: bool = False
    model_ema_decay: float = 0.9998
    model_ema_warmup: bool = False
    sync_bn: bool = False
    channels_last: bool = False
    compile: bool = False
    class_weights: tuple[float, ...] | None = None
    eval_metric: str = ""
    patience: int | None = None
    max_bad_frac: float = 0.01
    checkpoint_hist: int = 1
    checkpoint_minutes: float = 10.0
    log_with: tuple[str, ...] = ()
    seed: int = 42
    log_interval: int = 50
    device: str = "auto"

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            problem = describe_problem(setting.name, value) if setting.name in RANGES else None
            if problem:
                raise SettingError(setting.name, problem)
        self._choose("sched", SCHEDULES)
        self._choose("amp", AMP_KINDS)
        if not self.eval_metric:
            object.__setattr__(self, "eval_metric", "map" if self.multi_label else "top1")
        self._choose("eval_metric", EVAL_METRICS)
        self._check_loss()
        from videozoo.devices import find_device  # the command line reads the defaults above without torch

        find_device(self.device)
        if not set(self.log_with) <= set(TRACKERS):
            raise SettingError("log_with", f"is {self.log_with}; it must be of {', '.join(TRACKERS)}")
        if self.class_weights is not None and sum(self.class_weights) <= 0:
            raise SettingError("class_weights", "has no weight above 0; one class at least needs one")
        if self.warmup_epochs > self.epochs:
            problem = f"is {self.warmup_epochs:g}, more than the {self.epochs} epochs of the run"
            raise SettingError("warmup_epochs", problem)
        if self.min_lr > self.lr:
            raise SettingError("min_lr", f"is {self.min_lr:g}, more than the learning rate of {self.lr:g}")
        self._check_frozen()
        self._check_schedule()

    def _check_loss(self) -> None:
        """Refuse settings of the loss and of the best epoch that do not go together."""
        if (self.eval_metric == "map") != self.multi_label:
            kind = "a multi-label run, which measures map" if self.multi_label else "videos with one class, not map"
            raise SettingError("eval_metric", f"is {self.eval_metric}; this is {kind}")
        if self.multi_label and self.bce_loss:
            raise SettingError("bce_loss", "has no effect beside multi_label, which has that loss already")
        has_bce = self.multi_label or self.bce_loss
        if self.bce_target_thresh is not None and not has_bce:
            raise SettingError("bce_target_thresh", "has no effect; it needs bce_loss")
        if self.class_weights is not None and has_bce:
            raise SettingError(
                "class_weights", "is for cross entropy, which weighs a clip by its one class; leave it out here"
            )

    def _choose(self, name: str, known: Sequence[str]) -> None:
        value = getattr(self, name)
        if value not in known:
            raise SettingError(name, f"is {value!r}; it must be one of {', '.join(known)}")

    def _check_frozen(self) -> None:
        """Refuse what would do nothing to a frozen backbone, or freeze more than it."""
        for name in ("freeze_bn", "sync_bn", "layer_decay") if self.freeze_backbone else ():
            if getattr(self, name):
                raise SettingError(name, "has no effect with freeze_backbone, whose layers and norms stay as they are")

    def _check_schedule(self) -> None:
        """Refuse a schedule without the numbers that it needs."""
        if self.sched == "multistep" and not self.decay_milestones:
            raise SettingError("decay_milestones", "is not given; sched multistep needs the epochs of the falls")
        if self.sched == "step" and self.decay_epochs is None:
            raise SettingError("decay_epochs", "is not given; sched step needs the epochs between the falls")
        if self.sched == "rsqrt" and self.warmup_epochs == 0:
            raise SettingError("warmup_epochs", "is 0; sched rsqrt starts at 1 / sqrt(warm-up) and needs more than 0")
