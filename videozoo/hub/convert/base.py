"""What every converter gives, and how it says that something does not fit."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from videozoo.text import printable

__all__ = ["ConvertError", "Converted", "count_blocks", "rename", "rename_all"]


class ConvertError(ValueError):
    """Keys or shapes of a checkpoint that a converter cannot place. Control characters in a key are escaped."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@dataclass(frozen=True)
class Converted:
    """A foreign checkpoint under our names.

    Args:
        state: all tensors of the network, by the keys of ``VideoNet``.
        spec: fields of ``ModelSpec.to_dict`` that the checkpoint implies; what no key or shape tells (how many frames)
            is the source's usual value.
        dropped: names of tensors that only training needs and that have no counterpart.
        cfg: fields of the network's config that the source implies (mean, std).
    """

    state: dict[str, Tensor]
    spec: dict[str, Any]
    dropped: tuple[str, ...] = ()
    cfg: dict[str, Any] = field(default_factory=dict)


def rename_all(
    state: Mapping[str, Tensor], new_name: Callable[[str], str | None], source: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Rename every key.

    Args:
        state: tensors by the source's key.
        new_name: our key; ``""`` for a tensor that only training needs, None for one that has no place.
        source: who wrote the checkpoint, for the error.
    Returns:
        the state under our keys, and the keys that were dropped.
    Raises:
        ConvertError: keys without a place, or two keys for one place.
    """
    names = {key: new_name(key) for key in state}
    left = [key for key, name in names.items() if name is None]
    if left:
        more = f" and {len(left) - 12} more" if len(left) > 12 else ""
        raise ConvertError(f"{source}: no place for {', '.join(left[:12])}{more}; is it another architecture?")
    taken: dict[str, str] = {}
    for key, name in names.items():
        if name and name in taken:
            raise ConvertError(f"{source}: {key} and {taken[name]} would both become {name}.")
        if name:
            taken[name] = key
    return {name: state[key] for name, key in taken.items()}, tuple(key for key, name in names.items() if name == "")


def rename(key: str, rules: Iterable[tuple[str, str]]) -> str | None:
    """The replacement of the first pattern that matches the whole key; None where none does."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(replacement)
    return None


def count_blocks(state: Iterable[str], pattern: str) -> int:
    """How many different numbers the first group of ``pattern`` takes at the start of the keys."""
    return len({match[1] for match in (re.match(pattern, key) for key in state) if match})
