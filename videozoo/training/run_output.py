"""Run folder of a training: the one that is given, or a new one.

Heavy imports inside.
"""

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from videozoo.arguments import UsageError
from videozoo.jobs.output_folders import hold_output
from videozoo.launch import is_main_process

from .run_log import note
from .settings import Settings

RUNS = "runs"  # where new folders are made, in the folder that the command runs in
TIME = "%Y%m%d-%H%M%S"
MOST_LETTERS = 80  # of a model's name in that of a folder


@contextlib.contextmanager
def hold_run(settings: Settings) -> Iterator[Path]:
    """Keep other commands out of the run folder, and yield it.

    Without ``output`` it is a new folder that never existed, whose path is set in ``settings``. It is removed again if
    nothing was put into it. Of several processes the first one makes it, and all get its path.

    Raises:
        UsageError: no folder can be made.
        JobError: as for `hold_output`.
    """
    is_new = not settings.output
    if is_new:
        from videozoo.engine.distributed import value_of_first_process

        made = str(_make_folder(settings.model)) if is_main_process() else ""
        settings.output = value_of_first_process(made, settings.device)
        note(f"no --output: the run folder is {settings.output}")
    output = Path(settings.output)
    try:
        with hold_output(output, "a training run"):
            yield output
    finally:
        if is_new and is_main_process():
            with contextlib.suppress(OSError):  # it holds something
                output.rmdir()


def _make_folder(model: str | None) -> Path:
    """Make ``runs/DATE-TIME-MODEL``, as timm's training script names its runs, with a number if it is taken."""
    words = [format(datetime.now(), TIME), re.sub(r"[^\w.]+", "-", model or "")[-MOST_LETTERS:].strip("-.")]
    name, number = "-".join(filter(None, words)), 1
    folder = Path(RUNS) / name
    try:
        folder.parent.mkdir(exist_ok=True)
        while True:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
            number += 1
            folder = folder.with_name(f"{name}-{number}")
    except OSError as error:
        what = f"{folder}: cannot be made a folder ({error.strerror})"
        raise UsageError(f"finetune: {what}; --output RUN names another for the run.") from error
