"""Log lines of a training's set-up, from the first process alone, in the log ``videozoo``."""

import logging

from videozoo.launch import is_main_process

_log = logging.getLogger(__name__)


def note(message: str) -> None:
    """Log a line on what is being done.

    Further lines must be indented.
    """
    if is_main_process():
        _log.info("%s", message)


def warn(message: str) -> None:
    """Log a warning.

    Further lines must be indented.
    """
    if is_main_process():
        _log.warning("%s", message)
