"""Ctrl-C that stops at a safe place."""

import os
import signal
import threading
from types import FrameType
from typing import Self

_NOTE = b"stopping after this step; Ctrl-C again stops at once\n"


class Interrupts:
    """A context in which the first SIGINT is noted and raised by the next ``check``; a second one raises at once.

    An exception at any moment may fall where Python drops it (the hooks run while a loader forks its workers) or where
    it leaves things half made (a loader's iterator, whose deletion then prints a traceback); between two steps neither
    can be. Only Python's own handler in the main thread is replaced; a context inside another shares its note.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._is_handler = False

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        outer = getattr(handler, "__self__", None)
        if isinstance(outer, type(self)):
            return outer
        if threading.current_thread() is threading.main_thread() and handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._is_handler = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._is_handler = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if one was asked for."""
        if self._is_asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True
        os.write(2, _NOTE)  # not print: the handler may run within another print
