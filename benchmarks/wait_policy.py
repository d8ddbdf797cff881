"""Measure the time of a step with different OpenMP wait policies, on an idle and on a busy machine.

``python benchmarks/wait_policy.py [--rounds N]`` writes ``.md`` and ``.json``. Every setting runs in its own process,
because OpenMP reads it once. The processes take turns, so that other work slows all of them alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pages import table, write_both

# Environment of each setting. libgomp spins 300,000 times by default and never with PASSIVE.
SETTINGS = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"spin {n}": {"GOMP_SPINCOUNT": str(n)} for n in (1_000, 3_000, 10_000, 30_000)},
}
# (model, frame size, training)
TASKS = {
    "train arc_tsm_r18 48 px": ("arc_tsm_r18", 48, True),
    "train tsn_r18 48 px": ("tsn_r18", 48, True),
    "predict arc_tsm_r18 112 px": ("arc_tsm_r18", 112, False),
    "predict tsn_r50 224 px": ("tsn_r50", 224, False),
}
BATCH = {True: 8, False: 1}
SAMPLE_SEC = 0.7


def work(task: str) -> None:
    """Run steps of one task for every line of standard input and print the seconds of a step."""
    import torch

    import videozoo

    name, size, train = TASKS[task]
    torch.manual_seed(0)
    model = videozoo.create_model(name, num_classes=6).train(train)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    clips = torch.randn(BATCH[train], 3, 8, size, size)
    labels = torch.zeros(len(clips), dtype=torch.long)

    def step() -> None:
        if not train:
            with torch.inference_mode():
                model(clips)
            return
        torch.nn.functional.cross_entropy(model(clips), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < SAMPLE_SEC:
            step()
            steps += 1
        print((time.perf_counter() - began) / steps, flush=True)


def measure(task: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of a step of every setting, ``{"idle": {...}, "busy": {...}}``."""
    workers = {
        setting: subprocess.Popen(
            [sys.executable, __file__, "--work", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | env,
        )
        for setting, env in SETTINGS.items()
    }
    for worker in workers.values():
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    found: dict[str, dict[str, float]] = {}
    for state in ("idle", "busy"):
        loops = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(os.cpu_count() or 1)
            if state == "busy"
        ]
        times: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
        try:
            for _ in range(rounds):
                for setting, worker in workers.items():
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
                    times[setting].append(float(worker.stdout.readline()))
        finally:
            for loop in loops:
                loop.kill()
        found[state] = {setting: statistics.median(values) for setting, values in times.items()}
    for worker in workers.values():
        worker.communicate()
    return found


def main() -> None:
    """Measure all tasks, print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return
    result = {task: measure(task, args.rounds) for task in args.tasks}
    write_both(Path(__file__).with_suffix(".json"), result, write_page(result, args.rounds))


def write_page(result: dict[str, dict[str, dict[str, float]]], rounds: int) -> str:
    """Return the Markdown page of the figures."""
    lines = [
        "# OpenMP wait policy",
        "",
        "You need not set anything: the command line sets `GOMP_SPINCOUNT=3000` unless you set it or "
        "`OMP_WAIT_POLICY`.",
        "In Python, set it before you import torch if other programs use the same processors.",
        "",
        "OpenMP threads that wait for each other first spin and then sleep. On an idle machine spinning saves "
        "the time of",
        "waking up. On a busy machine it takes the processor from the thread that the others wait for.",
        "",
        f"Milliseconds per step, median of {rounds} rounds, and the ratio to the fastest setting of the row. "
        "On a *busy*",
        f"machine one endless loop per processor runs at the same time. CPU only: {os.cpu_count()} cores, batch",
        f"{BATCH[True]} in training, 1 in prediction, 8 frames. `python benchmarks/wait_policy.py` writes this page.",
        "",
    ]
    rows = []
    for task, states in result.items():
        for state, times in states.items():
            least = min(times.values())
            rows.append([task, state, *(f"{1000 * value:.0f} ({value / least:.2f})" for value in times.values())])
    return "\n".join([*lines, *table(["step", "machine", *SETTINGS], rows)]) + "\n"


if __name__ == "__main__":
    main()
