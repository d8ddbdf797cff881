"""Trackers of accelerate beside summary.csv: TensorBoard and Weights & Biases."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from videozoo.engine.errors import EngineError
from videozoo.extras import check_installed

_log = logging.getLogger(__name__)


class Trackers:
    """The trackers of a run.

    What they refuse is logged once and never stops the training. summary.csv has it all.

    Accelerate's own ``log`` raises whatever a tracker raises, which would end a run of days.

    Args:
        names: ``tensorboard`` writes to RUN/tensorboard, ``wandb`` to RUN/wandb, and to its service where a key for it
            is known. ``WANDB_MODE`` and its other variables hold.
        folder: the run folder.
        settings: of the run.
        is_main: whether this is the first process. The others track nothing.
    Raises:
        EngineError: a tracker cannot start.
        MissingPackageError: its package is not installed.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], is_main: bool) -> None:
        self._trackers: list[GeneralTracker] = []
        for name in names:
            check_installed(f"log_with={name}", name)
        for name in names if is_main else ():
            try:
                self._trackers.append(_start(name, folder, settings))
            except Exception as error:  # whatever the tracker's package raises
                raise EngineError(f"log_with: {name} could not start ({error}); mend that, or leave it out.") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send values to every tracker."""
        for tracker in list(self._trackers):
            try:
                tracker.log(dict(values), step=step)
            except Exception as error:  # an extra must not end a run of days
                _log.warning("%s failed, nothing more is logged to it: %s", tracker.name, error)
                self._trackers.remove(tracker)

    def close(self) -> None:
        """Let the trackers write what they hold."""
        for tracker in self._trackers:
            try:
                tracker.finish()
            except Exception as error:
                _log.warning("%s: %s", tracker.name, error)
        self._trackers = []


def _start(name: str, folder: Path, settings: Mapping[str, Any]) -> GeneralTracker:
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"run_name": name, "logging_dir": str(folder)}
    if name == "wandb":
        import wandb

        options = {"run_name": "videozoo", "dir": str(folder), "name": folder.name}
        if "WANDB_MODE" not in os.environ and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
            _log.info("wandb: no key, so it is kept in %s; `wandb sync` sends it", folder / "wandb")
            options["mode"] = "offline"
    tracker: GeneralTracker = LOGGER_TYPE_TO_CLASS[name](**options)
    tracker.start()
    plain = (str, bool, int, float)
    tracker.store_init_configuration(
        {key: value if isinstance(value, plain) else str(value) for key, value in settings.items()}
    )
    return tracker
