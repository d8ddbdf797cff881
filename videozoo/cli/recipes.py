"""Recipes: the settings of a published training as a yaml file, which every flag of ``finetune`` overrides."""

import argparse
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from videozoo.cli.console import CommandError
from videozoo.text import near_names

# Of one machine, folder or run: no recipe can know them.
_NOT_IN_RECIPES = frozenset(
    {
        *("recipe", "data", "val", "data_root", "class_names", "output", "resume", "initial_checkpoint", "log_with"),
        *("workers", "device", "log_interval", "checkpoint_minutes", "help"),
    }
)
_TEXTS = ("description", "start_from")


@dataclass(frozen=True)
class Recipe:
    """What a recipe sets, by the names of the flags, and what it says.

    Args:
        settings: values by name, of the kinds that the flags give.
        description: what it reproduces.
        start_from: the weights that the paper starts from, where no name can give them; told to who starts without.
    """

    settings: dict[str, Any]
    description: str = ""
    start_from: str = ""


def recipe_names() -> list[str]:
    """The recipes of the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def read_recipe(name: str, parser: argparse.ArgumentParser) -> Recipe:
    """Read a recipe of the package, or a file of the same form: one ``flag_name: value`` a line.

    Args:
        name: one of ``recipe_names()``, or the path of a yaml file.
        parser: of ``finetune``: its flags are the keys, and it checks the values.
    Raises:
        CommandError: no such recipe, unknown keys, values that a flag would not take.
    """
    known = recipe_names()
    if name in known:
        where, text = f"recipe {name}", (_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    elif is_recipe_file(name):
        where, text = name, _read_file(Path(name).expanduser())
    else:
        hint = near_names(name, known, "did you mean {}?", most=1)
        hint = hint or f"there are {', '.join(known)}, or give a .yaml file."
        raise CommandError(f"--recipe: no recipe {name!r}; {hint}")
    rows = _parse(text, where)
    texts = {key: str(rows.pop(key)).strip() for key in _TEXTS if rows.get(key) is not None}
    return Recipe(_convert(rows, parser, where), **texts)


def is_recipe_file(name: str) -> bool:
    """Whether a value of ``--recipe`` is meant as a path."""
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _folder() -> Any:
    return resources.files("videozoo") / "recipes"


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8 text; a recipe is a yaml file.") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f"{where}: not yaml ({' '.join(str(error).split())}).") from error
    if not isinstance(rows, dict) or not all(isinstance(key, str) for key in rows):
        raise CommandError(f"{where}: a recipe has lines such as `lr: 0.01`, by the names of finetune's flags.")
    return rows


def _convert(rows: dict[str, Any], parser: argparse.ArgumentParser, where: str) -> dict[str, Any]:
    """The values as the flags would give them: each is put through its flag."""
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_IN_RECIPES}
    settings: dict[str, Any] = {}
    for key, value in rows.items():
        if key not in actions:
            hint = near_names(key, [*actions, *_TEXTS], "did you mean {}?", most=1)
            hint = hint or "its keys are the names of finetune's flags."
            raise CommandError(f"{where}: unknown key {key!r}; {hint}")
        flag, is_switch = actions[key].option_strings[-1], actions[key].nargs == 0
        if value is None and not is_switch:
            settings[key] = None
        elif isinstance(value, bool) != is_switch or isinstance(value, dict):
            needed = "true or false" if is_switch else f"a value as {flag} takes it"
            raise CommandError(f"{where}: {key} is {value!r}; it must be {needed}.")
        elif is_switch:
            settings[key] = value
        else:
            words = [str(word) for word in value] if isinstance(value, list) else [str(value)]
            argv = [flag, *words] if len(words) != 1 else [f"{flag}={words[0]}"]
            try:
                settings[key] = getattr(parser.parse_args(argv), key)
            except CommandError as error:
                raise CommandError(f"{where}: {error}") from error
    return settings
