"""A script whose children train and are killed: all is imported once, so that a child starts at once."""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine_tiny import run, tiny_net
from test_engine_midway import Mixing, drawing_loader

from videozoo import files
from videozoo.engine import checkpoint, run_folder

job: dict[str, Any] = {}  # what the command line asks for
SETTINGS = {"model_ema": True, "model_ema_decay": 0.7, "checkpoint_minutes": 0}


def train(output: Path, workers: int, ready: Callable[[], None] = lambda: None) -> None:
    torch.set_num_threads(1)
    run_folder.plot_curves = run_folder.plot_confusion = lambda *args: None  # type: ignore[assignment]
    loader = drawing_loader(num_workers=workers)
    run(output, net=tiny_net(drop=0.2), train=loader, train_batch=Mixing(1, ready), resume=True, epochs=job["epochs"],
        checkpoint_hist=job.get("checkpoint_hist", 1), **SETTINGS)  # fmt: skip


def start(work: Callable[[], None]) -> int:
    """Fork a child that does the work, and exits by 0 if that went well."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def end(child: int) -> bool:
    """Whether the child has done its work; it may have been killed, but not have failed."""
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a child failed")
    return os.WIFEXITED(status)


def kill_at_random(folder: Path, workers: int, times: int, longest: float, seed: int) -> dict[str, int]:
    """Kill a run at random moments after its first step, then let it end; a next one if it ended before ``times``."""
    draws = random.Random(seed)
    kills = halves = runs = 0
    is_done = False
    while kills < times or not is_done:
        output = folder / f"parts{runs}"
        reads, writes = os.pipe()
        child = start(lambda: train(output, workers, lambda: os.write(writes, b"1")))  # noqa: B023
        os.close(writes)
        os.read(reads, 1)  # its first step, or its end
        os.close(reads)
        if kills < times:
            time.sleep(draws.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        is_done = end(child)
        kills, runs = kills + (not is_done), runs + is_done
        halves += any(path.name.endswith((".tmp", ".old")) for path in output.iterdir())
    return {"kills": kills, "while writing": halves, "runs": runs}


def kill_at_every_write(output: Path) -> dict[str, int]:
    """Kill the n-th thing that is done to files, for n from 1 until the run ends before it."""
    kills = 0
    while True:
        child = start(lambda: (doom(kills + 1), train(output, 0)))  # type: ignore[func-returns-value]  # noqa: B023
        if end(child):
            return {"kills": kills}
        kills += 1


def doom(at: int) -> None:
    """Let this process be killed before its ``at``-th change of a file, or in the middle of it."""
    done = 0

    def wrap(function: Callable[..., Any], path_at: int | None = None) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done == at:
                if path_at is not None:
                    args[path_at].write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    checkpoint._save_tensors = wrap(checkpoint._save_tensors, 1)
    Path.write_text = wrap(Path.write_text, 0)  # type: ignore[method-assign]
    files._settle_file = wrap(files._settle_file)
    files._sync_folder = wrap(files._sync_folder)
    os.fsync = wrap(os.fsync)
    Path.rename = wrap(Path.rename)  # type: ignore[method-assign]
    os.replace = wrap(os.replace)
    shutil.rmtree = wrap(shutil.rmtree)  # type: ignore[assignment]


if __name__ == "__main__":
    job.update(json.loads(sys.argv[1]))
    folder = Path(job["output"])
    started = time.monotonic()
    if not end(start(lambda: train(folder / "whole", 0))):
        sys.exit("the whole run failed")
    took = time.monotonic() - started
    if job["kind"] == "random":
        counts = kill_at_random(folder, job["workers"], job["times"], took / job["times"], job["seed"])
    else:
        counts = kill_at_every_write(folder / "parts0")
    sys.stdout.write(f"COUNTS {json.dumps(counts)}\n")
