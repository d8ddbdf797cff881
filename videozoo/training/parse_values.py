"""Parsing of settings from a recipe or a Python call by their flags."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from videozoo.arguments import UsageError, flag_of

from .settings import DEFAULTS, GROUPS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def read_values(rows: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the values of settings as their flags give them.

    Args:
        rows: numbers, texts, paths, booleans for switches, lists for flags of several values, None for the default.
        where: what the values are of, for errors.
    Raises:
        UsageError: names the setting and its value.
    """
    parser = _Parser(prog="videozoo finetune", allow_abbrev=False)
    for settings in GROUPS.values():
        for setting in settings:
            setting(parser)
    values: dict[str, Any] = {}
    for key, value in rows.items():
        flag, is_switch = flag_of(key), DEFAULTS[key] is False
        if value is None:
            values[key] = DEFAULTS[key]
        elif isinstance(value, bool) != is_switch or not _is_value(value):
            needed = "true or false" if is_switch else f"a value as {flag} takes it"
            raise UsageError(f"{where}: {key} is {value!r}; it must be {needed}.")
        elif is_switch:
            values[key] = value
        else:
            words = [str(word) for word in value] if isinstance(value, list | tuple) else [str(value)]
            argv = [flag, *words] if len(words) != 1 else [f"{flag}={words[0]}"]
            try:
                values[key] = getattr(parser.parse_args(argv), key)
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from error
    return values


def _is_value(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_value(word) for word in value)
    return isinstance(value, str | int | float | Path)
