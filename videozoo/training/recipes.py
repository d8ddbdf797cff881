"""Recipes: the settings of a published training as a yaml file, which every flag of ``finetune`` overrides."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.arguments import UsageError
from videozoo.text import near_names

from .parse_values import read_values
from .recipe_files import recipe_names, recipe_text
from .settings import DEFAULTS

# Of one machine, folder or run: no recipe can know them.
_NOT_IN_RECIPES = frozenset(
    {
        *("recipe", "data", "val", "data_root", "class_names", "output", "resume", "initial_checkpoint", "log_with"),
        *("workers", "device", "log_interval", "checkpoint_minutes", "help"),
    }
)
_TEXTS = ("description", "start_from", "optimizer_of")
OPTIMIZER = (
    *("opt", "opt_betas", "opt_eps", "momentum", "lr", "lr_base", "lr_base_size"),
    *("weight_decay", "layer_decay", "head_lr_scale", "clip_grad"),
)


@dataclass(frozen=True)
class Recipe:
    """Recipe: settings by the names of the flags, and a description.

    Args:
        settings: values by name, of the kinds that the flags give.
        description: what it reproduces.
        start_from: the weights that the paper starts from, where no name can give them. Logged when a run starts
            without them.
        optimizer_of: pattern of architectures. A run that starts from weights of these because it names none takes
            the settings ``OPTIMIZER`` of the recipe.
    """

    settings: dict[str, Any]
    description: str = ""
    start_from: str = ""
    optimizer_of: str = ""


def read_recipe(name: str) -> Recipe:
    """Read a bundled recipe, or a file of the same form: one ``flag_name: value`` per line.

    Args:
        name: one of ``recipe_names()``, or the path of a yaml file.
    Raises:
        UsageError: no such recipe, unknown keys, values that a flag would not take.
    """
    known = recipe_names()
    if name in known:
        where, text = f"recipe {name}", recipe_text(name)
    elif is_recipe_file(name):
        where, text = name, _read_file(Path(name).expanduser())
    else:
        hint = near_names(name, known, "did you mean {}?", most=1)
        hint = hint or f"there are {', '.join(known)}, or give a .yaml file."
        raise UsageError(f"--recipe: no recipe {name!r}; {hint}")
    rows = _parse(text, where)
    texts = {key: str(rows.pop(key)).strip() for key in _TEXTS if rows.get(key) is not None}
    return Recipe(_convert(rows, where), **texts)


def optimizer_settings(arch: str) -> tuple[str, dict[str, Any]]:
    """Return the recipe of the package that weights of an architecture were trained by, and its ``OPTIMIZER``.

    Both are empty if there is none.
    """
    for name in recipe_names():
        recipe = read_recipe(name)
        if fnmatch.fnmatch(arch, recipe.optimizer_of):
            return name, {key: value for key, value in recipe.settings.items() if key in OPTIMIZER}
    return "", {}


def is_recipe_file(name: str) -> bool:
    """Return whether a value of ``--recipe`` is meant as a path."""
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text; a recipe is a yaml file.") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not yaml ({' '.join(str(error).split())}).") from error
    if not isinstance(rows, dict) or not all(isinstance(key, str) for key in rows):
        raise UsageError(f"{where}: a recipe has lines such as `lr: 0.01`, by the names of finetune's flags.")
    return rows


def _convert(rows: dict[str, Any], where: str) -> dict[str, Any]:
    known = [name for name in DEFAULTS if name not in _NOT_IN_RECIPES]
    for key in rows:
        if key not in known:
            hint = near_names(key, [*known, *_TEXTS], "did you mean {}?", most=1)
            hint = hint or "its keys are the names of finetune's flags."
            raise UsageError(f"{where}: unknown key {key!r}; {hint}")
    return read_values(rows, where)
