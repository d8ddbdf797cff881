"""Probing of every video of a small set before training.

Heavy imports inside.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from videozoo.arguments import UsageError
from videozoo.launch import is_main_process
from videozoo.text import first_few

from .run_log import warn

if TYPE_CHECKING:
    from videozoo.data import VideoRecord

# Opening decodes a frame of each, about 5 ms; above this the first epoch finds broken files.
OPENED_BEFORE_TRAINING = 2000


def open_all(train: "Sequence[VideoRecord]", val: "Sequence[VideoRecord]", *, max_bad_frac: float) -> None:
    """Open every video of a small set once, so that broken ones are reported before training starts.

    They stay in the set: in training another video takes their place, in validation they are counted. One broken
    training video is always allowed, however small the set.

    Raises:
        UsageError: more of the training videos are broken than may be, or all validation videos. It names them and
            where they are listed.
    """
    if len(train) + len(val) > OPENED_BEFORE_TRAINING or not is_main_process():
        return
    problems = _find_broken(train)
    if len(problems) > max(1, max_bad_frac * len(train)) or len(problems) == len(train):
        raise UsageError(
            f"{len(problems)} of {len(train)} training videos cannot be read, more than --max-bad-frac "
            f"{max_bad_frac:g} allows; take them out, replace them or allow more\n{_listed(problems)}"
        )
    if problems:
        warn(
            f"{len(problems)} of {len(train)} training videos cannot be read; others take their place\n"
            + _listed(problems)
        )
    problems = _find_broken(val)
    if len(problems) == len(val):
        raise UsageError(f"none of the {len(val)} validation videos can be read\n{_listed(problems)}")
    if problems:
        warn(f"{len(problems)} of {len(val)} validation videos cannot be read\n{_listed(problems)}")


def _find_broken(records: "Sequence[VideoRecord]") -> list[str]:
    from videozoo.data import VideoError, open_record

    def trouble(record: "VideoRecord") -> str | None:
        try:
            with open_record(record):
                return None
        except VideoError as error:
            return f"{record.source}: {error}"

    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        return [text for text in pool.map(trouble, records) if text]


def _listed(problems: list[str]) -> str:
    return "\n".join(f"  {line}" for line in first_few(problems))
