"""Ctrl-C that is never lost."""

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupts:
    """A context in which SIGINT raises KeyboardInterrupt at once, and again at the next ``check`` should it be lost.

    Python drops exceptions raised in some places, such as the hooks it runs while it forks a loader's worker; an
    interrupt that falls there would otherwise go unheard, but for a traceback on stderr, which is left out too. Only
    Python's own handler in the main thread is replaced.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._replaced = False

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._replaced = True
            self._report, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *error: object) -> None:
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._replaced = False
            sys.unraisablehook = self._report

    def check(self) -> None:
        """Raise KeyboardInterrupt if one was asked for."""
        if self._is_asked:
            raise KeyboardInterrupt

    def _unraisable(self, dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._report(dropped)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        raise KeyboardInterrupt
