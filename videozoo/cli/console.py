"""Output of the command line: one-line errors, exit statuses, results, log lines."""

import contextlib
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from videozoo.arguments import UsageError
from videozoo.launch import is_main_process
from videozoo.text import first_line, printable

# Errors whose message is meant for the user, by the module that is loaded when they can occur.
_KNOWN_ERRORS = {
    "videozoo.data": ("VideoError", "SourceError"),
    "videozoo.engine": ("EngineError",),
    "videozoo.export": ("ExportError",),
    "videozoo.extras": ("MissingPackageError",),
    "videozoo.models": ("UnknownModelError", "WeightsError"),
}

# What torch says where a map is smaller than a kernel or a pooling window.
_TOO_SMALL = ("Output size is too small", "Kernel size can't be greater than actual input size")
LOG_SEC = 30.0  # between lines on progress where stderr is no terminal
_HEAR_FIRST_SEC = 20.0  # a process that has failed needs some of it to end


class CommandError(Exception):
    """Error of wrong usage or wrong input.

    The message says who, what came and what is needed.
    """


class Interrupted(KeyboardInterrupt):
    """Interruption by Ctrl-C or SIGTERM, with a message on what is kept and how to continue.

    Args:
        stop: what was raised at first. The engine's has the ``number`` of the signal.
    """

    def __init__(self, message: str, stop: KeyboardInterrupt | None = None) -> None:
        super().__init__(message)
        self.number = getattr(stop, "number", signal.SIGINT)


def answer(work: Callable[[], int]) -> int:
    """Run a command, print its error on stderr and return the exit status.

    With VIDEOZOO_DEBUG=1 the traceback of every error is shown.
    """
    # What libraries plan to change is not the user's concern.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.formatwarning = _format_warning
    try:
        status = work()
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        _show_traceback()
        if is_main_process():
            print_error(str(stop) or "nothing more is done", kind="interrupted")
        return 128 + int(getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # `videozoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        _show_traceback()
        _let_first_process_speak()
        print_error(_describe(error))
        return 2


def _let_first_process_speak() -> None:
    """Wait a little: the same error mostly occurs in all processes, and the launcher ends this one if the first fails.

    A process that fails alone is still heard.
    """
    if not is_main_process():
        time.sleep(_HEAR_FIRST_SEC)


def print_error(message: str, kind: str = "error") -> None:
    """Print one ``videozoo: error: ...`` on stderr.

    Further lines, indented, only where a list of problems follows.
    """
    _write(f"videozoo: {kind}: {message}", sys.stderr, lines="indented")


def _write(text: str, file: TextIO, lines: str) -> None:
    """Print a text that may contain names and messages from outside. All output of the commands goes through it."""
    print(printable(text, lines, getattr(file, "encoding", None)), file=file, flush=True)


def _format_warning(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return printable(f"warning: {message}", "indented", sys.stderr.encoding) + "\n"


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, known_errors()) or (isinstance(error, ValueError) and _is_raised_here(error)):
        return str(error)
    reason = first_line(error) or "no message"
    if isinstance(error, RuntimeError) and any(text in reason for text in _TOO_SMALL):
        return f"the frames are too small for this model, or too few: give it larger or longer clips (torch: {reason})"
    return (
        f"unexpected {type(error).__name__}: {reason} (set VIDEOZOO_DEBUG=1 to see where; "
        "if your input is fine this is a bug of videozoo)"
    )


def _is_raised_here(error: Exception) -> bool:
    """Return whether videozoo raised an error. Then it is about an argument and its message is complete."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("videozoo.")


def known_errors() -> tuple[type[Exception], ...]:
    """Return the error types with messages for users, as far as their modules are loaded."""
    found: list[type[Exception]] = [CommandError, UsageError]
    for module, names in _KNOWN_ERRORS.items():
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names]
    return tuple(found)


def _show_traceback() -> None:
    if os.environ.get("VIDEOZOO_DEBUG", "") not in ("", "0"):
        _write(traceback.format_exc(), sys.stderr, lines="all")


def print_result(message: str = "", *, by_all: bool = False) -> None:
    """Print a line of the result on stdout.

    ``by_all``: in every process, not in the first alone.
    """
    if by_all or is_main_process():
        _write(message, sys.stdout, lines="none")


def print_text(text: str) -> None:
    """Print a text of several lines on stdout: JSON or Markdown, in which names contain no line breaks."""
    if is_main_process():
        _write(text, sys.stdout, lines="all")


def print_status(message: str) -> None:
    """Print a status line on stderr.

    Further lines must be indented.
    """
    if is_main_process():
        _write(message, sys.stderr, lines="indented")


@contextlib.contextmanager
def progress_bar(total: int, title: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show how many videos are done, in the first process alone: a bar on a terminal, else a line now and then.

    Returns a function of how many are done, with those of earlier runs, and how many of them are broken. What is done
    when it is first called does not count for the speed.
    """
    if not sys.stderr.isatty():
        yield _line_writer(total, title)
        return
    from tqdm import tqdm

    is_started = False
    desc = None if title is None else printable(title, encoding=sys.stderr.encoding)
    with tqdm(total=total, unit="video", desc=desc, disable=not is_main_process()) as bar:

        def show(done: int, num_broken: int) -> None:
            nonlocal is_started
            if not is_started:
                is_started, bar.initial = True, done
            bar.update(done - bar.n)
            bar.set_postfix(broken=num_broken, refresh=False)

        yield show


def _line_writer(total: int, title: str | None) -> Callable[[int, int], None]:
    """Return a function that writes a line to the log every ``LOG_SEC`` seconds."""
    begin = last = time.monotonic()
    first: int | None = None

    def show(done: int, num_broken: int) -> None:
        nonlocal first, last
        now, first = time.monotonic(), done if first is None else first
        if now - last < LOG_SEC:
            return
        last, speed = now, (done - first) / (now - begin)
        left = f", about {(total - done) / speed / 60:.0f} min left" if speed else ""
        broken = f", {num_broken} broken" if num_broken else ""
        print_status(f"{title + ': ' if title else ''}{done} of {total} videos{broken}, {speed:.1f} a second{left}")

    return show


def show_log() -> None:
    """Send videozoo's log lines to stderr as they are.

    Keep the libraries' chatter out.
    """
    log = logging.getLogger("videozoo")
    log.setLevel(logging.INFO if is_main_process() else logging.ERROR)
    log.propagate = False
    log.handlers = [_Lines()]
    # torch's remark on pinned memory without a GPU, and the like, say nothing about the user's data.
    warnings.filterwarnings("ignore", module=r"torch\.utils\.data|torch\.optim\.lr_scheduler|accelerate")


class _Lines(logging.Handler):
    """Log handler for the current stderr, which tests and notebooks replace."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        _write(prefix + record.getMessage(), sys.stderr, lines="indented")
