"""How the command talks: usage, errors of one line, exit statuses, log lines."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

# Errors whose message is meant for the user, by the module that is loaded when they can occur.
_KNOWN_ERRORS = {
    "videozoo.data": ("VideoError", "SourceError"),
    "videozoo.engine": ("EngineError",),
    "videozoo.export": ("ExportError",),
    "videozoo.models": ("UnknownModelError", "WeightsError"),
}

_HEAR_FIRST_SEC = 20.0  # a process that has failed needs some of it to end


class CommandError(Exception):
    """Bad usage or bad input; the message says who, what came and what is needed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, with a message that says what is kept and how to go on.

    Args:
        stop: what was raised at first; the engine's has the ``number`` of the signal.
    """

    def __init__(self, message: str, stop: KeyboardInterrupt | None = None) -> None:
        super().__init__(message)
        self.number = getattr(stop, "number", signal.SIGINT)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in the help and errors of one line."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", _Formatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        is_shown = isinstance(action.default, int | float | str) and action.default not in ("", argparse.SUPPRESS)
        return f"{text} [%(default)s]" if is_shown and not isinstance(action.default, bool) else text


def answer(work: Callable[[], int]) -> int:
    """Run the work and turn what it raises into a line on stderr and an exit status.

    With VIDEOZOO_DEBUG=1 the traceback of every error is shown.
    """
    # What libraries plan to change is not the user's concern.
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        status = work()
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        _show_traceback()
        if is_main_process():
            say_error(str(stop) or "nothing more is done", kind="interrupted")
        return 128 + int(getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # `videozoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        _show_traceback()
        _let_first_process_speak()
        say_error(_describe(error))
        return 2


def _let_first_process_speak() -> None:
    """Wait a little, as what is wrong is mostly wrong in all processes: the launcher ends this one if the first fails.

    A process that fails alone is still heard.
    """
    if not is_main_process():
        time.sleep(_HEAR_FIRST_SEC)


def say_error(message: str, kind: str = "error") -> None:
    """One ``videozoo: error: ...`` on stderr; further lines only where a list of problems follows."""
    print(f"videozoo: {kind}: {message}", file=sys.stderr, flush=True)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, known_errors()) or (isinstance(error, ValueError) and _is_raised_here(error)):
        return str(error)
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return (
        f"unexpected {type(error).__name__}: {first_line} (set VIDEOZOO_DEBUG=1 to see where; "
        "if your input is fine this is a bug of videozoo)"
    )


def _is_raised_here(error: Exception) -> bool:
    """Whether videozoo raised it: then it is about an argument, and its message says what is needed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("videozoo.")


def known_errors() -> tuple[type[Exception], ...]:
    """The error types that speak to the user, as far as their modules are loaded."""
    found: list[type[Exception]] = [CommandError]
    for module, names in _KNOWN_ERRORS.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)


def _show_traceback() -> None:
    if os.environ.get("VIDEOZOO_DEBUG", "") not in ("", "0"):
        traceback.print_exc()


def is_main_process() -> bool:
    """Whether this process speaks: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """How many processes torchrun or accelerate started for this command."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def first_process_first(device: str) -> Iterator[None]:
    """Let the first of several processes do what follows before the others do."""
    if num_processes() == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    # As the engine chooses, so that the processes are joined once.
    with PartialState(cpu=device == "cpu" or not torch.accelerator.is_available()).main_process_first():
        yield


def say(message: str = "") -> None:
    """A line of the answer, on stdout."""
    if is_main_process():
        print(message, flush=True)


def note(message: str) -> None:
    """A line on what is being done, on stderr."""
    if is_main_process():
        print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(total: int, title: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar of videos on stderr, in the first process alone.

    Gives a function of how many are done, those of earlier runs included, and how many of them are broken. What is done
    when it is first called does not count for the speed.
    """
    from tqdm import tqdm

    is_started = False
    with tqdm(total=total, unit="video", desc=title, disable=not is_main_process()) as bar:

        def show(done: int, num_broken: int) -> None:
            nonlocal is_started
            if not is_started:
                is_started, bar.initial = True, done
            bar.update(done - bar.n)
            bar.set_postfix(broken=num_broken, refresh=False)

        yield show


def show_log() -> None:
    """Send videozoo's log lines to stderr as they are; keep the libraries' chatter out."""
    log = logging.getLogger("videozoo")
    log.setLevel(logging.INFO if is_main_process() else logging.ERROR)
    log.propagate = False
    log.handlers = [_Lines()]
    # torch's remark on pinned memory without a GPU, and the like, say nothing about the user's data.
    warnings.filterwarnings("ignore", module=r"torch\.utils\.data|torch\.optim\.lr_scheduler|accelerate")


class _Lines(logging.Handler):
    """Writes to the stderr of the moment, which tests and notebooks exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        print(prefix + record.getMessage(), file=sys.stderr, flush=True)
