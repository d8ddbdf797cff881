"""A job killed again and again at chance moments, and then left alone."""

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_with_kills(
    work: Callable[..., None], *args: Any, decoded: Path, parts: Path, preload: str, num_kills: int, seed: int
) -> tuple[int, list[int]]:
    """Run a job to its end; return how often it was killed, and how many parts each of these runs left.

    Args:
        work, args: a process' whole life; it adds a line to ``decoded`` for each file that it reads.
        decoded: that file.
        parts: the folder of what is safe.
        preload: a module that every process finds imported.
        num_kills: a run that ends before its kill is the last one.
        seed: of the moments.
    """
    # A server that has imported everything forks each process: they start at once and share nothing with this one.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    draw = random.Random(seed)
    reached: list[int] = []
    while True:
        process = context.Process(target=work, args=args)
        process.start()
        if len(reached) == num_kills:
            process.join(300)
            assert process.exitcode == 0
            return len(reached), reached
        # Some files on, then somewhere between two lines of the program.
        goal = count_lines(decoded) + draw.randint(1, 8)
        limit = time.monotonic() + 120
        while process.is_alive() and count_lines(decoded) < goal and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))
        process.kill()
        process.join()
        if process.exitcode == 0:
            return len(reached), reached
        reached.append(len(list(parts.glob("*.safetensors"))))


def count_lines(file: Path) -> int:
    """Return the number of lines of a file, 0 where there is none yet."""
    return file.read_bytes().count(b"\n") if file.exists() else 0
