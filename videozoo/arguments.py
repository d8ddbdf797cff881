"""Errors about arguments and flags, and checks of numbers."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from videozoo.ranges import RANGES, describe_problem
from videozoo.text import near_names

__all__ = [
    "INDEX_CACHE_VARIABLE",
    "MAX_FRAMES_VARIABLE",
    "UsageError",
    "check_ranges",
    "flag_of",
    "name_arguments",
    "refuse_empty",
    "refuse_unknown",
    "set_index_cache",
    "set_max_frames",
]

# The flags --max-frames and --index-cache set these for the reader, here and in the processes that are started.
MAX_FRAMES_VARIABLE = "VIDEOZOO_MAX_FRAMES"
INDEX_CACHE_VARIABLE = "VIDEOZOO_INDEX_CACHE"


class UsageError(ValueError):
    """A setting, or what it names, cannot be used.

    The message says which, what came and what is needed.
    """


def flag_of(name: str) -> str:
    """Return the flag of a setting: ``--batch-size`` of ``batch_size``."""
    return "--" + name.replace("_", "-")


def name_arguments(text: str, settings: Mapping[str, Any]) -> str:
    """Return a message with arguments of a function in place of flags: ``batch_size`` for ``--batch-size``.

    Args:
        text: a message in the words of the command line.
        settings: defaults by name. Switches are those that are False. ``--resume`` becomes ``resume=True``.
    """

    def write(match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        if name not in settings:
            return match[0]
        return f"{name}=True" if settings[name] is False else name

    return re.sub(r"(?<![\w/.-])--([a-z][a-z0-9-]*)", write, text)


def refuse_unknown(function: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse arguments that a function does not have.

    Raises:
        TypeError: as Python says it, with the nearest names.
    """
    for name in given:
        if name not in known:
            hint = near_names(name, known, "; did you mean {}?", most=2)
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def check_ranges(command: str, values: Mapping[str, Any]) -> None:
    """Refuse numbers that are out of their range, whether flags, a recipe or a file gave them.

    Args:
        command: named in the error.
        values: by the names of settings. Other values than numbers are passed over.
    Raises:
        UsageError: names the flag.
    """
    for name in RANGES.keys() & values.keys():
        value = values[name]
        is_number = isinstance(value, int | float) or (isinstance(value, list | tuple) and bool(value))
        problem = describe_problem(name, value) if is_number else None
        if problem:
            raise UsageError(f"{command}: {flag_of(name)} {problem}.")


def refuse_empty(command: str, values: Mapping[str, Any]) -> None:
    """Refuse texts and lists without content, as an unset variable of a shell gives: they would pass as not given.

    Args:
        command: named in the error.
        values: by the names of settings.
    Raises:
        UsageError: names the flag.
    """
    for name, value in values.items():
        if value == [] or (isinstance(value, str) and not value.strip()):
            raise UsageError(f"{command}: {flag_of(name)} is empty; give a value, or leave it out.")


def set_max_frames(count: int) -> None:
    """Let the reader decode so many frames of a video, in processes that start from now on too."""
    os.environ[MAX_FRAMES_VARIABLE] = str(count)


def set_index_cache(folder: str) -> None:
    """Let the reader keep the indexes of files in a folder, in processes that start from now on too.

    Raises:
        UsageError: the folder cannot be made, or not be written.
    """
    if not folder.strip():  # it would be the current folder
        raise UsageError("--index-cache is empty; name a folder.")
    path = os.path.abspath(os.path.expanduser(folder))
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--index-cache {folder}: cannot be made a folder ({error.strerror}).") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"--index-cache {folder}: the folder may not be written; name one of your own.")
    os.environ[INDEX_CACHE_VARIABLE] = path
