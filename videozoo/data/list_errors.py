"""Errors in lists of videos, line by line."""

from dataclasses import dataclass, field
from pathlib import Path

from videozoo.text import count_of, first_few

SEVERAL_LABELS = "several labels a video are for multi-label models only (finetune --multi-label)"
JOIN_LABELS = "join the labels of a video by |"


class SourceError(ValueError):
    """A list or folder of videos that training must not start with.

    The message has files and line numbers.
    """


class RowFault(Exception):
    """Why an item of a list is no row."""


@dataclass
class Problems:
    """Collected problems of a source, reported together.

    Args:
        where: the list or folder.
        found: one ``place: what`` each, in the order found.
        hint: a word on all of them together.
        warnings: what is odd but no problem.
    """

    where: Path | str
    found: list[str] = field(default_factory=list)
    hint: str = ""
    warnings: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Note a problem."""
        self.found.append(f"{place}: {what}")

    def raise_if_any(self) -> None:
        """Raise what was noted.

        Raises:
            SourceError: with the first 20 problems and the number of the rest.
        """
        if not self.found:
            return
        head = f"{self.where}: {count_of(self.found, 'problem')}; nothing was loaded{self.hint}"
        raise SourceError("\n  ".join([head, *first_few(self.found)]))
