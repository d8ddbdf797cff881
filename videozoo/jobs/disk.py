"""Output of jobs: files written whole or not at all, and locked folders."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from videozoo.files import FolderTaken, claim_folder, lock_folder, write_file

from .errors import JobError


def write_whole(path: Path, content: str | bytes | Callable[[Any], Any], side: Path | None = None) -> None:
    """Write a file as `videozoo.files.write_file` does.

    Raises:
        JobError: the disk refused.
    """
    try:
        write_file(path, content, side)
    except OSError as error:
        raise JobError(
            f"{path}: cannot be written ({error.strerror or error}); what is finished is kept, run again to go on."
        ) from error


@contextlib.contextmanager
def hold_folder(folder: Path, kind: str, *, beside: Iterable[str] = (), alone: bool = False) -> Iterator[None]:
    """Keep a folder for one kind of result, and for this process alone, while it is filled.

    Args:
        folder: new, empty, or as an earlier run of the same command left it.
        kind, beside, alone: as for `videozoo.files.claim_folder`.
    Raises:
        JobError: it holds other things, another process writes it, or it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(folder))
            claim_folder(folder, kind, beside=beside, alone=alone)
        except FolderTaken as error:
            raise JobError(f"{folder}: {error.strerror}.") from error
        except OSError as error:
            raise JobError(f"{folder}: cannot be made a folder ({error.strerror}).") from error
        yield
