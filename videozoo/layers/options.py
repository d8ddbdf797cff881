"""The checks of options."""

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from typing import Any

__all__ = ["check_choice", "check_count", "check_flag", "check_unused"]


def check_count(owner: str, option: str, value: object, least: int = 1, why: str = "") -> None:
    """Raise unless an option is a whole number of at least ``least``.

    Args:
        owner: the part or layer whose option it is, for the message.
        option: its name.
        value: what was given.
        least: smallest value that makes sense.
        why: said behind the message, such as the paper's value.
    Raises:
        ValueError: a smaller number, a fraction, or no number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{owner}: {option} is {value!r}; need a whole number, {least} or more{why and f' ({why})'}.")


def check_choice(owner: str, option: str, value: object, choices: Sequence[object]) -> None:
    """Raise unless an option is one of those that there are.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{owner}: {option} is {value!r}; choose one of {', '.join(map(str, choices))}.")


def check_flag(owner: str, option: str, value: object) -> None:
    """Raise unless an option is True or False.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {option} is {value!r}; need True or False.")


def check_unused(owner: str, options: Any, names: Sequence[str], reason: str) -> None:
    """Raise where options that nothing reads have another value than their default.

    Args:
        owner: the part whose options they are, for the message.
        options: a dataclass.
        names: fields of it that nothing reads.
        reason: the choice that makes it so.
    Raises:
        ValueError: one of them is not at its default.
    """
    defaults = {field.name: field.default for field in fields(options)}
    for name in names:
        value = getattr(options, name)
        if value != defaults[name]:
            raise ValueError(
                f"{owner}: {name} is {value!r}, but has no effect with {reason}; leave it at {defaults[name]!r}."
            )
