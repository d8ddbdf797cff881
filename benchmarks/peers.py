"""Predict and fine-tune the same real clips with videozoo and with other packages, and compare time and memory.

``python benchmarks/peers.py --data FOLDER`` takes the first clips of ``FOLDER/train.txt`` (``path label`` lines), runs
``peers/*.py`` and videozoo's commands in turns, and writes ``peers.json`` and ``peers.md``. Both start from the same
random weights. A package that is not installed is skipped. Run nothing else on the machine meanwhile.

MMAction2 needs mmengine, mmcv-lite and a copy of its repository: its wheel lacks a part.
"""

import argparse
import csv
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from loader import is_readable
from pages import write_both
from peers_page import COMMANDS, OURS, PEERS, figures, page
from speed_measure import machine

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "peers"
SAMPLE_SEC = 0.1


class Failed(Exception):
    """A command failed. The text is its last line of errors."""


def lines_of(peer: str, task: str) -> int:
    """Return the number of lines that a user writes: code without blank lines, comments and docstrings."""
    if peer == OURS:
        return 1
    paths = [SCRIPTS / f"{peer}_{task}.py", SCRIPTS / f"{peer}_config.py"]
    source = "\n".join(re.sub(r'^""".*?"""', "", path.read_text(), flags=re.S) for path in paths if path.exists())
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in source.splitlines())


def proportional_mb(process: psutil.Process) -> float:
    """Return the memory (MB) of a process and its children. What several share is counted once."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one.pid}/smaps_rollup").read_text(), re.M)
        except OSError:  # it has just ended
            continue
        total += int(found[1]) if found else 0
    return total / 1024


def run(command: list[str], threads: int, folder: Path) -> dict[str, float]:
    """Return wall seconds, processor seconds and peak memory (MB) of a command with all its processes.

    Raises:
        Failed: it did not exit with 0.
    """
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    before = os.times()
    start = time.perf_counter()
    with open(folder / "errors.txt", "w+") as errors:
        child = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        peak, ended = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            process = psutil.Process(child.pid)
            while not ended.wait(SAMPLE_SEC):
                try:
                    peak = max(peak, proportional_mb(process))
                except psutil.NoSuchProcess:
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        child.wait()
        seconds = time.perf_counter() - start
        ended.set()
        thread.join()
        if child.returncode:
            errors.seek(0)
            raise Failed((errors.read().strip().splitlines() or ["no message"])[-1])
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"sec": round(seconds, 3), "cpu_sec": round(used, 3), "mb": round(peak, 1)}


def choose_clips(data: Path, count: int) -> list[str]:
    """Return the first lines of the list whose videos all packages can read, with absolute paths.

    Raises:
        SystemExit: there are too few.
    """
    lines = []
    for line in (data / "train.txt").read_text().splitlines():
        path, label = line.split()
        if is_readable(data / path):
            lines.append(f"{(data / path).resolve()} {label}\n")
        if len(lines) == count:
            return lines
    raise SystemExit(f"{data}: {len(lines)} clips with at least 8 frames, {count} are needed")


def prepare(name: str, classes: int, folder: Path, threads: int) -> Path:
    """Write the peer's random weights, and the same weights as a folder of videozoo. Return the peer's.

    Raises:
        Failed: a package is missing or cannot be used.
    """
    peer = PEERS[name]
    missing = [package for package in peer.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise Failed(f"not installed: {', '.join(missing)}")
    theirs, ours = folder / f"{name}.weights", folder / f"{name}_ours"
    numbers = [str(classes), str(peer.frames), str(peer.size)]
    run([sys.executable, str(SCRIPTS / "weights.py"), name, str(theirs), *numbers], threads, folder)
    state = theirs / "model.safetensors" if theirs.is_dir() else theirs
    flags = ["--num-frames", str(peer.frames), "--output", str(ours), *peer.convert.split()]
    run([sys.executable, "-m", "videozoo", "convert", str(state), *flags], threads, folder)
    config = json.loads((ours / "config.json").read_text())
    sides = {"input_size": [3, peer.size, peer.size], "crop_pct": 0.875, "frame_sampling": "segment"}
    one_view = {"test_num_clips": 1, "test_num_crops": 1, "test_crop_size": None, "test_resize": None}
    config["pretrained_cfg"] |= {**sides, **one_view}
    (ours / "config.json").write_text(json.dumps(config))
    return theirs


def command_of(who: str, name: str, task: str, folder: Path, count: int, classes: int) -> tuple[list[str], Path]:
    """Return a command on the first clips, and the path of what it writes."""
    peer, output = PEERS[name], folder / f"{name}_{task}_{who}_{count}_{time.monotonic_ns()}"
    lists = {kind: folder / f"{kind}_{count}.txt" for kind in ("train", "val")}
    if who == OURS:
        words = COMMANDS[task].format(model=folder / f"{name}_ours", test=lists["train"], output=output, **lists)
        return [sys.executable, "-m", "videozoo", *shlex.split(words)], output.with_name(f"{output.name}.csv")
    paths = [folder / f"{name}.weights", *(lists.values() if task == "finetune" else [lists["train"]]), output]
    numbers = [classes, peer.frames, peer.size]
    return [sys.executable, str(SCRIPTS / f"{name}_{task}.py"), *map(str, [*paths, *numbers])], output


def same_answers(theirs: Path, ours: Path) -> float:
    """Return the fraction of clips for which both predict the same class."""
    with open(ours, newline="") as file:
        own = {Path(row["path"]).name: row["class_1"] for row in csv.DictReader(file)}
    found = [line.split() for line in theirs.read_text().splitlines()]
    return sum(label.removeprefix("LABEL_") == own[Path(path).name] for path, label in found) / len(own)


def compare(name: str, task: str, args: argparse.Namespace, folder: Path, classes: int) -> dict[str, Any]:
    """Return the runs of both on few and on all clips, in turns."""
    who = (name, OURS)
    row: dict[str, Any] = {"peer": name, "task": task, "lines": {one: lines_of(one, task) for one in who}}
    row["runs"] = {one: {str(count): [] for count in (args.few, args.clips)} for one in who}
    for step in range(args.rounds):
        for count in (args.few, args.clips):
            outputs = {}
            for one in who if step % 2 == 0 else who[::-1]:
                command, outputs[one] = command_of(one, name, task, folder, count, classes)
                row["runs"][one][str(count)].append(run(command, args.threads, folder))
            if task == "predict":
                row["same"] = same_answers(outputs[name], outputs[OURS])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.txt and its videos")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--tasks", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--few", type=int, default=8, help="clips of the short runs that measure the start")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for peers.json and peers.md")
    args = parser.parse_args()
    start = time.perf_counter()
    val = max(args.clips // 5, 8)
    clips = choose_clips(args.data, args.clips + val)
    classes = 1 + max(int(line.split()[1]) for line in clips)
    result: dict[str, Any] = {**machine("cpu", args.threads), "threads": args.threads, "rounds": args.rounds}
    result |= {"clips": args.clips, "few": args.few, "val": val, "packages": {}, "skipped": {}, "rows": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for count in (args.few, args.clips):
            (folder / f"train_{count}.txt").write_text("".join(clips[:count]))
            (folder / f"val_{count}.txt").write_text("".join(clips[-val:][: max(count // 5, 1)]))
        (folder / "classes.txt").write_text("".join(f"class_{label}\n" for label in range(classes)))
        for name in args.peers:
            try:
                prepare(name, classes, folder, args.threads)
                for task in args.tasks:
                    result["rows"].append(compare(name, task, args, folder, classes))
                    found = figures(result["rows"][-1], args.few, args.clips)
                    ratios = ", ".join(f"{key} {found[key]:.2f}" for key in ("rate", "whole", "memory"))
                    print(f"{name} {task}: {ratios} ({time.perf_counter() - start:.0f} s)", flush=True)
            except Failed as error:
                result["skipped"][name] = str(error)
                print(f"{name}: skipped, {error}", flush=True)
    result["packages"] = versions_of([name for name in args.peers if name not in result["skipped"]])
    result["minutes"] = (time.perf_counter() - start) / 60
    write_both(args.out / "peers.json", result, page(result))


def versions_of(names: list[str]) -> dict[str, str]:
    """Return the versions of the compared packages."""
    from importlib.metadata import PackageNotFoundError, version

    distributions = {"mmaction": "mmaction2", "mmcv": "mmcv-lite"}
    found = {}
    for package in sorted({package for name in names for package in PEERS[name].packages}):
        try:
            found[package] = version(distributions.get(package, package))
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


if __name__ == "__main__":
    main()
