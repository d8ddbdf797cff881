"""The settings of a training run, under timm's names."""

import math
from dataclasses import dataclass

SCHEDULES = ("cosine", "constant", "step", "multistep", "poly", "tanh", "wsd", "rsqrt", "none")
EVAL_METRICS = ("top1", "mean_class")
AMP_KINDS = ("no", "bf16", "fp16")

# What may differ between a run and its continuation; anything else would make it another run.
FREE_ON_RESUME = frozenset(
    {"epochs", "log_interval", "device", "max_bad_frac", "checkpoint_minutes", "patience", "compile", "log_with"}
)
TRACKERS = ("tensorboard", "wandb")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train: optimiser, schedule, precision and averaging, with the names and meanings of timm's flags.

    Args:
        epochs: passes over the training loader, warm-up included.
        opt: any optimiser of ``timm.optim.list_optimizers()``.
        lr: peak learning rate; nothing is scaled by the batch size.
        weight_decay: not applied to one-dimensional parameters and to those of ``model.no_weight_decay()``.
        momentum: for optimisers that have one.
        opt_betas, opt_eps: for optimisers that have them; None leaves the optimiser's own.
        layer_decay: factor in (0, 1] of the learning rate per layer group from the head down (``model.group_matcher``).
        sched: one of ``cosine constant step multistep poly tanh wsd rsqrt none``, updated at every optimiser step.
        warmup_epochs: linear rise from ``warmup_lr`` to ``lr``; fractions of an epoch are fine.
        min_lr: where a falling schedule ends.
        decay_milestones, decay_epochs, decay_rate: epochs and factor of the falls (``multistep``; ``step``).
        clip_grad: largest norm of the whole gradient; None does not clip.
        smoothing: label smoothing in [0, 1).
        grad_accum_steps: loader batches per optimiser step; equals one batch of that many times the size.
        amp: ``no``, ``bf16`` or ``fp16`` (a GPU only).
        freeze_bn: keep the statistics and the affine pair of every norm with running statistics as they are.
        model_ema, model_ema_decay, model_ema_warmup: moving average of the weights; it is what is then evaluated.
        sync_bn: norms with batch statistics take them over the batches of all processes.
        channels_last: keep convolutions' weights and inputs with channels innermost, which is faster on some machines.
        compile: train and evaluate through ``torch.compile``; checkpoints keep the network's own keys.
        class_weights: a weight of the loss per class, as ``class_weights`` of the data room gives; the mean over the
            classes is usually 1. None: all alike.
        eval_metric: ``top1`` or ``mean_class``: what makes an epoch the best one.
        patience: stop after this many epochs without a better ``eval_metric``; None trains all ``epochs``.
        max_bad_frac: share of the training videos that may turn out broken before the run stops.
        checkpoint_minutes: time between checkpoints within an epoch; 0 writes one after every step.
        log_with: trackers of accelerate that are told what summary.csv is told: ``tensorboard``, ``wandb``.
        seed: with the epoch's number it fixes every random draw of the engine.
        log_interval: optimiser steps between progress lines.
        device: ``auto`` (accelerate's choice) or ``cpu``.
    Raises:
        ValueError: a value out of its range, naming it.
    """

    epochs: int = 30
    opt: str = "adamw"
    lr: float = 5e-4
    weight_decay: float = 0.05
    momentum: float = 0.9
    opt_betas: tuple[float, ...] | None = None
    opt_eps: float | None = None
    layer_decay: float | None = None
    sched: str = "cosine"
    warmup_epochs: float = 1.0
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    decay_milestones: tuple[float, ...] = ()
    decay_epochs: float | None = None
    decay_rate: float = 0.1
    clip_grad: float | None = None
    smoothing: float = 0.0
    grad_accum_steps: int = 1
    amp: str = "no"
    freeze_bn: bool = False
    model_ema: bool = False
    model_ema_decay: float = 0.9998
    model_ema_warmup: bool = False
    sync_bn: bool = False
    channels_last: bool = False
    compile: bool = False
    class_weights: tuple[float, ...] | None = None
    eval_metric: str = "top1"
    patience: int | None = None
    max_bad_frac: float = 0.01
    checkpoint_minutes: float = 10.0
    log_with: tuple[str, ...] = ()
    seed: int = 42
    log_interval: int = 50
    device: str = "auto"

    def __post_init__(self) -> None:
        _need(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _need(self.lr > 0, "lr", self.lr, "more than 0")
        _need(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _need(self.sched in SCHEDULES, "sched", self.sched, "one of " + ", ".join(SCHEDULES))
        _need(0 <= self.warmup_epochs <= self.epochs, "warmup_epochs", self.warmup_epochs, f"0 to epochs={self.epochs}")
        _need(self.sched != "multistep" or bool(self.decay_milestones), "decay_milestones", self.decay_milestones,
              "the epochs of the falls, as sched is multistep")  # fmt: skip
        _need(self.clip_grad is None or self.clip_grad > 0, "clip_grad", self.clip_grad, "more than 0, or None")
        _need(0 <= self.smoothing < 1, "smoothing", self.smoothing, "in [0, 1)")
        _need(self.grad_accum_steps >= 1, "grad_accum_steps", self.grad_accum_steps, "at least 1")
        _need(self.amp in AMP_KINDS, "amp", self.amp, "one of " + ", ".join(AMP_KINDS))
        _need(0 <= self.model_ema_decay < 1, "model_ema_decay", self.model_ema_decay, "in [0, 1)")
        _need(self.eval_metric in EVAL_METRICS, "eval_metric", self.eval_metric, "one of " + ", ".join(EVAL_METRICS))
        weights = self.class_weights
        _need(weights is None or (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0),
              "class_weights", weights, "a finite number of 0 or more per class, one of them more than 0")  # fmt: skip
        _need(self.patience is None or self.patience >= 1, "patience", self.patience, "at least 1, or None")
        _need(0 <= self.max_bad_frac <= 1, "max_bad_frac", self.max_bad_frac, "in [0, 1]")
        _need(self.checkpoint_minutes >= 0, "checkpoint_minutes", self.checkpoint_minutes, "0 or more")
        _need(set(self.log_with) <= set(TRACKERS), "log_with", self.log_with, "of " + ", ".join(TRACKERS))
        _need(self.seed >= 0, "seed", self.seed, "0 or more")
        _need(self.log_interval >= 1, "log_interval", self.log_interval, "at least 1")
        _need(self.device in ("auto", "cpu"), "device", self.device, "auto or cpu")


def _need(holds: bool, name: str, value: object, needed: str) -> None:
    if not holds:
        raise ValueError(f"FitConfig: {name} is {value!r}; it must be {needed}.")
