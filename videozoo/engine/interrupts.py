"""Ctrl-C and SIGTERM that stop a run at a safe point."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

_NOTE = b"stopping after this step; Ctrl-C again stops at once\n"
_PYTHONS_OWN: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Stopped(KeyboardInterrupt):
    """A stop was requested by Ctrl-C or SIGTERM.

    Args:
        number: the signal's. A command that it stopped exits with 128 more.
        is_safe: whether it was raised between two steps, so that what has been done is whole.
    """

    def __init__(self, number: int, is_safe: bool = True) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.is_safe = number, is_safe


class Interrupts:
    """Context in which the first SIGINT or SIGTERM is recorded and raised by ``check``.

    A second one raises at once.

    An exception at any moment may fall where Python drops it (the hooks run while a loader forks its workers) or where
    it leaves things half made (a loader's iterator, whose deletion then prints a traceback). Between two steps neither
    can be. Only Python's own handlers in the main thread are replaced. A context inside another shares its note.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._replaced: list[int] = []
        self._process = os.getpid()

    def __enter__(self) -> Self:
        for number in _PYTHONS_OWN:
            outer = getattr(signal.getsignal(number), "__self__", None)
            if isinstance(outer, type(self)):
                return outer
        if threading.current_thread() is threading.main_thread():
            for number, handler in _PYTHONS_OWN.items():
                if signal.getsignal(number) is handler:
                    signal.signal(number, self._note)
                    self._replaced.append(number)
        return self

    def __exit__(self, *error: object) -> None:
        for number in self._replaced:
            signal.signal(number, _PYTHONS_OWN[number])
        self._replaced.clear()

    @property
    def stop_signal(self) -> int | None:
        """Number of the signal that requested a stop, or None."""
        return self._asked

    def check(self) -> None:
        """Raise ``Stopped`` if a stop was requested."""
        if self._asked is not None:
            raise Stopped(self._asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker, which inherited this: its parent ends it
            return
        if self._asked is not None:
            raise Stopped(number, is_safe=False)
        self._asked = number
        os.write(2, _NOTE)  # not print: the handler may run within another print
