"""The check of options that count something."""

from numbers import Integral

__all__ = ["check_count"]


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
