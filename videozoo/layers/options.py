"""Checks of option values."""

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from typing import Any

__all__ = ["check_choice", "check_count", "check_flag", "check_unused"]


def check_count(owner: str, option: str, value: object, least: int = 1, why: str = "") -> None:
    """Raise unless an option is a whole number of at least ``least``.

    Args:
        owner: name of the method or layer, for the message.
        option: name of the option.
        value: the given value.
        least: smallest valid value.
        why: text in parentheses at the end of the message, such as the paper's value.
    Raises:
        ValueError: a smaller number, a fraction, or no number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{owner}: {option} is {value!r}; need a whole number, {least} or more{why and f' ({why})'}.")


def check_choice(owner: str, option: str, value: object, choices: Sequence[object]) -> None:
    """Raise unless an option is one of ``choices``.

    Raises:
        ValueError: ``value`` is not in ``choices``.
    """
    if value not in choices:
        raise ValueError(f"{owner}: {option} is {value!r}; choose one of {', '.join(map(str, choices))}.")


def check_flag(owner: str, option: str, value: object) -> None:
    """Raise unless an option is True or False.

    Raises:
        ValueError: ``value`` is not a bool.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {option} is {value!r}; need True or False.")


def check_unused(owner: str, options: Any, names: Sequence[str], reason: str) -> None:
    """Raise if options without effect differ from their defaults.

    Args:
        owner: name of the method, for the message.
        options: a dataclass.
        names: fields of it that have no effect.
        reason: the setting because of which they have none, for the message.
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
