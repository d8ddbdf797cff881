"""Optimizer, schedule and averaged weights of timm, set up from FitConfig."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from timm.optim import (
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import nn

from videozoo.engine.freeze import addon_parameters, get_head
from videozoo.fit_config import FitConfig, SettingError
from videozoo.text import near_names


def make_optimizer(model: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """Make the optimizer over the trainable parameters.

    One-dimensional parameters and those named by ``model.no_weight_decay()`` are not decayed (timm's rule).

    Raises:
        ValueError: an unknown name (the nearest ones are listed), or a model without trainable parameters.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"make_optimizer: {type(model).__name__} has no parameter to train; unfreeze some of it.")
    name = config.opt.lower().removeprefix("lookahead_")
    known = [str(known) for known in list_optimizers()]
    if name not in known:
        near = near_names(name, known, "{}", most=5, cutoff=0.4) or "sgd, adamw"
        raise SettingError("opt", f"is {config.opt!r}, no optimizer of timm; nearest: {near}")
    num_betas = get_optimizer_info(name).num_betas
    if config.opt_betas is not None and len(config.opt_betas) != num_betas:
        raise SettingError("opt_betas", f"has {len(config.opt_betas)} numbers; {config.opt} takes {num_betas}")
    optional: dict[str, Any] = {"eps": config.opt_eps, "betas": config.opt_betas}
    if config.momentum == 0 and "nesterov" in (get_optimizer_info(name).defaults or {}):
        optional["nesterov"] = False  # refused without a momentum
    try:
        return create_optimizer_v2(
            _param_groups(model, config),
            opt=config.opt,
            lr=config.lr,
            momentum=config.momentum,
            **{key: value for key, value in optional.items() if value is not None},
        )
    except (ValueError, TypeError, IndexError, AssertionError, ImportError) as error:
        raise SettingError("opt", f"{config.opt} cannot be made with these settings ({error})") from error


def _param_groups(model: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """Return timm's groups of parameters, by decay and by layer, and those with a rate of their own apart."""
    own: set[str] = getattr(model, "no_weight_decay", set)()
    groups: list[dict[str, Any]]
    if config.layer_decay is None:
        groups = param_groups_weight_decay(model, config.weight_decay, no_weight_decay_list=own)
    else:
        groups = param_groups_layer_decay(
            model, config.weight_decay, no_weight_decay_list=own, layer_decay=config.layer_decay
        )
    if config.head_lr_scale != 1:
        groups = _scale_rate(groups, get_head(model).parameters(), config.head_lr_scale)
    if config.addon_lr_scale != 1:
        groups = _scale_rate(groups, addon_parameters(model), config.addon_lr_scale)
    for group in groups if config.sched == "none" else ():  # schedules apply the factor, and there is none
        group["lr"] = config.lr * group.get("lr_scale", 1.0)
    return groups


def _scale_rate(groups: list[dict[str, Any]], part: Iterable[nn.Parameter], factor: float) -> list[dict[str, Any]]:
    """Return the groups with the parameters of one part of the model apart, at ``factor`` times their learning rate."""
    inside, split = {id(parameter) for parameter in part}, []
    for group in groups:
        for is_inside in (False, True):
            params = [parameter for parameter in group["params"] if (id(parameter) in inside) == is_inside]
            scale = group.get("lr_scale", 1.0) * (factor if is_inside else 1.0)
            split += [{**group, "params": params, "lr_scale": scale}] if params else []
    return split


def check_training(config: FitConfig) -> None:
    """Refuse an optimizer or a schedule that cannot be made, before the model is built.

    Raises:
        SettingError: (a ValueError) which setting is wrong.
    """
    optimizer = make_optimizer(
        nn.Linear(1, 1), replace(config, layer_decay=None, head_lr_scale=1.0, addon_lr_scale=1.0)
    )
    make_scheduler(optimizer, config, updates_per_epoch=1000)


def settings_without_effect(opt: str) -> set[str]:
    """Return those of momentum, opt_betas and opt_eps that an optimizer of timm does not have."""
    name = opt.lower().removeprefix("lookahead_")
    if name not in list_optimizers():
        return set()
    info = get_optimizer_info(name)
    has = {"momentum": info.has_momentum, "opt_betas": info.has_betas, "opt_eps": info.has_eps}
    return {name for name, is_there in has.items() if not is_there}


def make_scheduler(optimizer: torch.optim.Optimizer, config: FitConfig, updates_per_epoch: int) -> Scheduler | None:
    """Make the learning rate schedule over optimizer steps, or return None for ``sched="none"``.

    The caller calls ``step_update(num_updates)`` before each step, so a resumed run needs no state of it.
    """
    warmup_updates = round(config.warmup_epochs * updates_per_epoch)
    try:
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
        if scheduler is not None:
            scheduler.step_update(0)
    except (ValueError, ZeroDivisionError, AssertionError) as error:
        raise SettingError("sched", f"{config.sched} cannot be made with these settings ({error})") from error
    return scheduler


def current_lr(optimizer: torch.optim.Optimizer) -> float:
    """Return the learning rate before the factors of layers and head."""
    group = optimizer.param_groups[0]
    return float(group["lr"] / group.get("lr_scale", 1.0))


def make_ema(model: nn.Module, config: FitConfig) -> ModelEmaV3 | None:
    """Copy the model for its averaged weights, or return None if the config does not ask for them."""
    if not config.model_ema:
        return None
    return ModelEmaV3(model, decay=config.model_ema_decay, use_warmup=config.model_ema_warmup)
