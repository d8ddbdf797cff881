"""Optimiser, schedule, averaged weights and frozen norms: timm's, wired to FitConfig."""

import difflib
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn

from videozoo.engine.config import FitConfig


def make_optimizer(model: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """Make the optimiser over the parameters that want a gradient.

    One-dimensional parameters and those named by ``model.no_weight_decay()`` are not decayed (timm's rule).

    Raises:
        ValueError: an unknown name (the nearest ones are listed), or a network without trainable parameters.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"make_optimizer: {type(model).__name__} has no parameter to train; unfreeze some of it.")
    name = config.opt.lower().removeprefix("lookahead_")
    known = [str(known) for known in list_optimizers()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or ["sgd", "adamw"]
        raise ValueError(f"make_optimizer: no optimiser {config.opt!r} in timm; nearest: {', '.join(near)}.")
    optional: dict[str, Any] = {"eps": config.opt_eps, "betas": config.opt_betas, "layer_decay": config.layer_decay}
    return create_optimizer_v2(
        model,
        opt=config.opt,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        **{key: value for key, value in optional.items() if value is not None},
    )


def make_scheduler(optimizer: torch.optim.Optimizer, config: FitConfig, updates_per_epoch: int) -> Scheduler | None:
    """Make the schedule, a function of the number of optimiser steps done; None for ``sched="none"``.

    The caller calls ``step_update(num_updates)`` before each step, so a resumed run needs no state of it.
    """
    warmup_updates = round(config.warmup_epochs * updates_per_epoch)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=config.sched,
        num_epochs=config.epochs,
        warmup_epochs=warmup_updates / updates_per_epoch,  # type: ignore[arg-type]
        warmup_lr=min(config.warmup_lr, config.lr),
        min_lr=config.min_lr,
        decay_epochs=config.decay_epochs,
        decay_milestones=list(config.decay_milestones),  # type: ignore[arg-type]
        decay_rate=1.0 if config.sched == "poly" else config.decay_rate,  # timm: the power of poly
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return scheduler


def current_lr(optimizer: torch.optim.Optimizer) -> float:
    """The largest learning rate among the parameter groups: the head's, where layers decay."""
    return max(group["lr"] for group in optimizer.param_groups)


def make_ema(model: nn.Module, config: FitConfig) -> ModelEmaV3 | None:
    """Copy the network for its averaged weights, or None where the config does not ask for them."""
    if not config.model_ema:
        return None
    return ModelEmaV3(model, decay=config.model_ema_decay, use_warmup=config.model_ema_warmup)


def freeze_norms(model: nn.Module) -> list[str]:
    """Put every module with running statistics in evaluation mode and stop training its weight and bias.

    To be called again after each ``model.train()``, which wakes the statistics.

    Returns:
        the names of the modules.
    Raises:
        ValueError: there is none.
    """
    names = []
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        module.eval()
        for affine in (getattr(module, "weight", None), getattr(module, "bias", None)):
            if isinstance(affine, nn.Parameter):
                affine.requires_grad_(False)
        names.append(name)
    if not names:
        raise ValueError(
            f"freeze_norms: {type(model).__name__} has no module with running statistics; leave freeze_bn off."
        )
    return names
