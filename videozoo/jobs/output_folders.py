"""Output folders of commands: outside the data, for one kind of result, filled by one process at a time."""

import contextlib
from pathlib import Path

from videozoo.arguments import UsageError
from videozoo.launch import is_main_process

from .disk import hold_folder


def refuse_inside_data(output: Path, data: str | None, flag: str = "--data") -> None:
    """Refuse an output in a folder of class folders: the next command would take it for a class.

    Args:
        output: file or folder to be written.
        data: what ``flag`` names. A list may be beside the output.
    Raises:
        UsageError: names both.
    """
    folder = Path(data).expanduser() if data else None
    if folder is not None and folder.is_dir() and output.expanduser().resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"--output {output} is inside {flag} {data}, where its files would count as data the next time; give an "
            "output outside of it."
        )


def refuse_file(output: Path) -> None:
    """Refuse a file where a folder is to be made.

    Raises:
        UsageError: names it.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file; --output needs a folder.")


def hold_output(output: Path, kind: str, *, beside: tuple[str, ...] = ()) -> contextlib.AbstractContextManager[None]:
    """Make an output folder and keep other commands out of it.

    Of several processes the first one does.

    Args:
        output, kind, beside: as for `hold_folder`.
    Raises:
        JobError: another process writes into it, it holds something else, or it cannot be made.
    """
    return hold_folder(output, kind, beside=beside) if is_main_process() else contextlib.nullcontext()
