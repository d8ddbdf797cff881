"""``finetune`` in two processes: launchers, a process that dies, one that fails."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from videozoo.cli import main

pytestmark = pytest.mark.slow
FLAGS = [
    "--model",
    "test_dnr_tsn",
    "--img-size",
    "32",
    "--num-frames",
    "4",
    "--workers",
    "0",
    "--epochs",
    "4",
    "--lr",
    "1e-3",
    "--warmup-epochs",
    "0",
    "--sync-bn",
    "--log-interval",
    "1",
    "--checkpoint-minutes",
    "0.001",
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [
    sys.executable,
    "-m",
    "accelerate.commands.accelerate_cli",
    "launch",
    "--multi_gpu",
    "--num_processes",
    "2",
    "--main_process_port",
    "0",
]
LAUNCHERS = {"torchrun": TORCHRUN, "accelerate": ACCELERATE}
LIMIT_SEC = 300
FAULT = """
import os, sys
def refuse(event, args):
    if event == "open" and str(args[0]).endswith("names.txt"):
        raise PermissionError(13, "Permission denied", args[0])
if os.environ.get("RANK") == "1":
    sys.addaudithook(refuse)
"""


class Command:
    """A command that runs on its own; what it prints is kept, and heard while it comes."""

    def __init__(
        self, *args: str, on_line: Callable[[str], None] = lambda line: None, cwd: Path | None = None, **variables: str
    ) -> None:
        # No GPU is seen, so that --device auto must find its way; as many threads each as the test itself.
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **variables}
        self.process = subprocess.Popen(
            args, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._reader.start()

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            on_line(line)

    def wait(self) -> int:
        """The exit status, once all that was printed has been read."""
        try:
            status = self.process.wait(LIMIT_SEC)
        finally:
            self.process.kill()
        self._reader.join(LIMIT_SEC)
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def finetune(launcher: list[str], data: Path, output: Path | None, *flags: str, **options: Any) -> Command:
    """``videozoo finetune`` in two processes with ``-b`` clips each a step."""
    outputs = ["--output", str(output)] if output else []
    return Command(*launcher, "-m", "videozoo", "finetune", "--data", str(data), *outputs, *flags, **options)


def rank_of(process: psutil.Process) -> str | None:
    try:
        is_ours = "finetune" in process.cmdline() and "--nproc-per-node" not in process.cmdline()
        return process.environ().get("RANK") if is_ours else None
    except psutil.Error:
        return None


def rows(run: Path) -> list[dict[str, str]]:
    """summary.csv without the times."""
    with (run / "summary.csv").open() as file:
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole_run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes from torchrun that nothing happens to, in the one folder that they make without a name."""
    folder = tmp_path_factory.mktemp("processes")
    command = finetune(TORCHRUN, videos, None, *FLAGS, "-b", "2", cwd=folder)
    assert command.wait() == 0, command.text
    assert command.text.count("best epoch") == 1 + 4  # the answer once, and a line per epoch once
    (run,) = (folder / "runs").iterdir()
    assert command.text.count(f"no --output: the run folder is runs/{run.name}") == 1
    return run


def test_two_processes_train_as_one_does(videos: Path, whole_run: Path, tmp_path: Path) -> None:
    """With the same clips in each step; the order of the sums is another."""
    assert main(["finetune", "--data", str(videos), "--output", str(tmp_path / "run"), *FLAGS, "-b", "4"]) == 0
    one, two = rows(tmp_path / "run"), rows(whole_run)
    assert [row["lr"] for row in one] == [row["lr"] for row in two]
    for ours, theirs in zip(one, two, strict=True):
        for loss in ("train_loss", "val_loss"):
            assert float(ours[loss]) == pytest.approx(float(theirs[loss]), rel=1e-3)
    results = json.loads((whole_run / "results.json").read_text())
    assert results["num_videos"] == 6
    assert {path.name for path in whole_run.iterdir()} == {path.name for path in (tmp_path / "run").iterdir()}


def test_evaluate_takes_what_two_processes_trained(videos: Path, whole_run: Path, capsys: Any) -> None:
    """The model that is built again has no synchronized norms, and the same keys."""
    capsys.readouterr()
    assert main(["evaluate", "--model", f"local-dir:{whole_run / 'best'}", "--data", str(videos), "--json"]) == 0
    results = json.loads((whole_run / "results.json").read_text())
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(results["loss"], rel=1e-3)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_process_ends_the_run_which_goes_on_later(
    videos: Path, whole_run: Path, tmp_path: Path, launcher: str
) -> None:
    """The weights are those of the run that nothing happened to, bit for bit."""
    killed: list[int] = []

    def kill(line: str) -> None:
        if "epoch 3/4 step 2/3" in line and not killed:
            for process in psutil.Process(command.process.pid).children(recursive=True):
                if rank_of(process) == "1":
                    killed.append(process.pid)
                    process.kill()

    command = finetune(LAUNCHERS[launcher], videos, tmp_path / "run", *FLAGS, "-b", "2", on_line=kill)
    assert command.wait() != 0
    assert len(killed) == 1, command.text
    assert len(rows(tmp_path / "run")) < 4
    again = finetune(LAUNCHERS[launcher], videos, tmp_path / "run", "--resume")
    assert again.wait() == 0, again.text
    assert "resumed after epoch" in again.text
    assert rows(tmp_path / "run") == rows(whole_run)
    ours, theirs = (load_file(run / "last/model.safetensors") for run in (tmp_path / "run", whole_run))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize("victim", [0, 1])
def test_the_survivor_without_a_launcher_ends_and_says_why(videos: Path, tmp_path: Path, victim: int) -> None:
    """As where a cluster's scheduler starts the processes."""
    commands: list[Command] = []

    def kill(line: str) -> None:
        if "epoch 2/4 step 2/3" in line:
            commands[victim].process.send_signal(signal.SIGKILL)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for rank in "01":
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        commands.append(
            finetune(
                [sys.executable],
                videos,
                tmp_path / "run",
                *FLAGS,
                "-b",
                "2",
                on_line=kill,
                **variables,
                MASTER_PORT=port,
            )
        )
    survivor = commands[1 - victim]
    assert survivor.wait() == 2, survivor.text
    assert commands[victim].wait() == -signal.SIGKILL
    assert survivor.lines[-1].startswith("videozoo: error: ")
    assert "another process of this run has ended" in survivor.lines[-1]
    assert "Traceback" not in survivor.text
    assert load_file(tmp_path / "run/last/model.safetensors")


@pytest.mark.parametrize(("folder", "flags"), [("nowhere", []), ("", ["--opt", "sgd", "--lr", "1e30"])])
def test_what_is_wrong_in_all_processes_is_said_once(
    videos: Path, tmp_path: Path, folder: str, flags: list[str]
) -> None:
    """At the start, and in training."""
    command = finetune(TORCHRUN, videos / folder, tmp_path / "run", *FLAGS, "-b", "2", *flags)
    assert command.wait() != 0
    assert command.text.count("videozoo: error: ") == 1, command.text


def test_what_is_wrong_in_one_process_is_said(videos: Path, tmp_path: Path) -> None:
    """The second process alone cannot read the names of the classes, and the first does not wait for it."""
    names = tmp_path / "names.txt"
    names.write_text("\n".join(sorted(path.name for path in (videos / "train").iterdir())))
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    command = finetune(
        TORCHRUN, videos, tmp_path / "run", *FLAGS, "--class-names", str(names), PYTHONPATH=f"{tmp_path}:{Path.cwd()}"
    )
    assert command.wait() != 0
    assert command.text.count(f"videozoo: error: {names}: ") == 1, command.text
    assert not (tmp_path / "run/best").exists()
