"""Optimizer of the recipe that weights were trained by, for runs that start from them and set none.

The default rate is for convolutional networks, and many times that of the papers of transformers.
"""

from typing import Any

from videozoo.arguments import flag_of

from .recipes import optimizer_settings
from .resolve_settings import resolve_lr
from .run_log import note
from .settings import AUTO, Settings

# Flags with which a run has chosen its own: another optimizer, or a frozen backbone, needs other rates.
_OWN = frozenset({"opt", "recipe", "freeze_backbone"})


def take_optimizer(settings: Settings) -> None:
    """Set the optimizer that the recipe of the chosen weights has, but for what a flag sets, and log it."""
    recipe, values = _settings_for(settings)
    if not values:
        return
    vars(settings).update(values)
    if "lr" not in settings.given:
        settings.lr = None
        if settings.batch_size != AUTO:
            resolve_lr(settings)
    note(f"optimizer of --recipe {recipe}: {_as_flags(values)}; your flags go before it")


def suggest_optimizer(settings: Settings) -> None:
    """Log the optimizer that weights of the named architecture were trained by, if no flag sets a rate."""
    recipe, values = _settings_for(settings)
    if values and not {"lr", "lr_base"} & settings.given:
        note(f"{settings.model}: the authors train it with {_as_flags(values)}; --recipe {recipe} sets that and more")


def _settings_for(settings: Settings) -> tuple[str, dict[str, Any]]:
    if _OWN & settings.given:
        return "", {}
    recipe, values = optimizer_settings(settings.model.partition(".")[0])
    left_out = set(settings.given)
    for rate, follows in (("lr", {"lr_base", "lr_base_size"}), ("lr_base", {"lr_base_size"})):
        if rate in settings.given:  # the recipe's base is for the recipe's rate
            left_out |= follows
    return recipe, {name: value for name, value in values.items() if name not in left_out}


def _as_flags(values: dict[str, Any]) -> str:
    return " ".join(f"{flag_of(name)} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
