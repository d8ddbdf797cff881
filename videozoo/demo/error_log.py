"""Log of errors in requests: bad requests are not logged, and each internal error is logged once."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

__all__ = ["quiet_requests"]

log = logging.getLogger("videozoo")
_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
# They print the traceback of every error by themselves; gradio has no option or hook that would let them be quiet.
_PRINTERS = ("gradio.queueing", "gradio.route_utils", "gradio.routes", "gradio.utils")


@contextmanager
def quiet_requests() -> Iterator[None]:
    """Report errors of requests by `_Reporter` inside, in place of gradio's and uvicorn's tracebacks."""
    reporter = _Reporter()
    stand_in = SimpleNamespace(**{**vars(traceback), "print_exc": reporter.report_current})
    servers = logging.getLogger("uvicorn.error")
    with ExitStack() as stack:
        for module in (sys.modules.get(name) for name in _PRINTERS):
            if hasattr(module, "traceback"):
                stack.enter_context(patch.object(module, "traceback", stand_in))
        servers.addFilter(reporter.keep)
        stack.callback(servers.removeFilter, reporter.keep)
        yield


class _Reporter:
    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def report_current(self, *_: Any, **__: Any) -> None:
        """Report the exception that is being handled."""
        error = sys.exc_info()[1]
        if error is not None:
            self._report(error)

    def keep(self, record: logging.LogRecord) -> bool:
        """Return whether a line of the server is kept.

        Those with a traceback are reported here.
        """
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._report(error)
        return error is None

    def _report(self, error: BaseException) -> None:
        """Log a fault of videozoo the first time. What gradio and its server raise, a bad request is the reason of."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        is_own = place.startswith(_PACKAGE)
        key = (type(error).__name__, place)
        if is_own and key not in self._known:
            log.error("unexpected error on the page", exc_info=error)
        elif not is_own:
            log.debug("a request was refused: %s: %s", type(error).__name__, error)
        self._known.add(key)
