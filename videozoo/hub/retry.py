"""Retries after transient errors."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from videozoo.text import first_line

__all__ = ["DELAYS", "attempt", "describe", "is_passing"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
DELAYS = (0.5, 2.0)  # waits between tries, in seconds


def attempt(act: Callable[[], _T], patience: float = 60.0) -> _T:
    """Call a function that uses the internet, with retries after transient errors for ``patience`` seconds.

    The client itself only takes up a download that broke off, and asks again for the headers of a file.
    """
    start = time.monotonic()
    for delay in (*DELAYS, None):
        try:
            return act()
        except Exception as error:
            if delay is None or not is_passing(error) or time.monotonic() - start > patience:
                raise
            _log.debug("%s; trying again in %g seconds", describe(error), delay)
            time.sleep(delay)
    raise AssertionError("unreachable")


def is_passing(error: Exception) -> bool:
    """Return whether an error may be gone at the next try: a reset, a time-out, a short file, a 5xx."""
    if isinstance(error, OfflineModeIsEnabled | HFValidationError):
        return False
    if isinstance(error, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status >= 500 or status in (408, 429)
    # The disk's errors have a number; those of the network are the HTTP library's, or the client's about lengths.
    return not (isinstance(error, OSError) and error.errno is not None)


def describe(error: BaseException) -> str:
    """Describe an error in one line."""
    while isinstance(error, LocalEntryNotFoundError | ValueError) and error.__cause__ is not None:
        error = error.__cause__  # the client wraps what really happened
    if isinstance(error, HfHubHTTPError):
        return f"HTTP status {error.response.status_code}"
    return f"{type(error).__name__}: {first_line(error)}".rstrip(": ")
