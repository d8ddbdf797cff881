"""Killed, on a full disk, in a read-only folder: what was kept is whole, and the run goes on from it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import assert_same_run, run, tiny_net
from test_engine_midway import Mixing, drawing_loader

from videozoo.engine import CheckpointError, load_train_state, load_weights, run_folder

SETTINGS = {"model_ema": True, "checkpoint_minutes": 0}


def killed_runs(output: Path, **job: Any) -> dict[str, int]:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent, here.parents[1])))}
    command = [sys.executable, str(here / "killed_runs.py"), json.dumps({"output": str(output), **job})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    counts = [line.removeprefix("COUNTS ") for line in done.stdout.splitlines() if line.startswith("COUNTS ")]
    assert counts, done.stderr
    return json.loads(counts[0])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="children are forked")
@pytest.mark.parametrize(("workers", "times"), [(0, 20), (2, 6)])
def test_sigkill_at_random_moments(tmp_path: Path, workers: int, times: int) -> None:
    counts = killed_runs(tmp_path, kind="random", workers=workers, times=times, seed=times, epochs=5)
    print(counts)  # noqa: T201
    assert counts["kills"] == times
    for number in range(counts["runs"]):
        assert_same_run(tmp_path / "whole", tmp_path / f"parts{number}")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="children are forked")
def test_sigkill_at_every_change_of_a_file(tmp_path: Path) -> None:
    """Before each rename, removal and flush, and in the middle of each file, of ever later checkpoints."""
    assert killed_runs(tmp_path, kind="writes", epochs=3, checkpoint_hist=2)["kills"] > 30
    assert_same_run(tmp_path / "whole", tmp_path / "parts0")
    names = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("whole", "parts0")]
    assert names[0] == names[1]
    epochs = [name for name in names[0] if name.startswith("epoch-")]
    assert len(epochs) == 2
    assert names[0] == sorted(["best", "last", "results.json", "summary.csv", *epochs])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True, capture_output=True)


def go_on(output: Path, **kwargs: Any) -> None:
    run(output, net=tiny_net(drop=0.2), train=drawing_loader(), resume=True, **SETTINGS, **kwargs)


def assert_last_is_whole(output: Path, at_least: tuple[int, int]) -> None:
    state = load_train_state(output / "last")
    assert (len(state["history"]), state["current"]["step"]) >= at_least
    assert all(tensor.isfinite().all() for tensor in load_weights(output / "last").values())
    assert [path.name for path in output.iterdir() if path.name.startswith(".")] == []


def test_a_full_disk_is_named_and_what_was_kept_goes_on(tmp_path: Path, small_disk: Path) -> None:
    """At ever other free sizes, so that weights, states and tables are cut in their midst."""
    run(tmp_path / "whole", net=tiny_net(drop=0.2), train=drawing_loader(), train_batch=Mixing(), **SETTINGS)
    output, filler = small_disk / "run", small_disk / "filler"

    def fill_up(free: int) -> None:
        left = os.statvfs(small_disk)
        filler.write_bytes(b"0" * max(0, left.f_bavail * left.f_frsize - free))

    at, refused = 3, 0
    for free in (0, 4096, 8192, 16384, 24576, 40960):
        try:
            go_on(output, train_batch=Mixing(at, lambda free=free: fill_up(free)))
        except CheckpointError as error:
            refused += 1
            assert "No space left" in str(error)  # noqa: PT017
            assert "Free space or give another output" in str(error)  # noqa: PT017
            assert_last_is_whole(output, (0, at - 1))
        filler.unlink(missing_ok=True)
        at = 2
    assert refused >= 3
    go_on(output, train_batch=Mixing())
    assert_same_run(tmp_path / "whole", output)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = small_disk / "run"

    def write_protect() -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, capture_output=True)

    with monkeypatch.context() as patch:  # a file that is open for writing would keep the mount as it is
        patch.setattr(run_folder, "lock_folder", lambda folder: contextlib.ExitStack())
        with pytest.raises(CheckpointError, match=r"not be written .*Read-only.* the previous checkpoint is intact"):
            go_on(output, train_batch=Mixing(3, write_protect))
    assert_last_is_whole(output, (0, 2))
    with pytest.raises(CheckpointError, match=r"cannot be written to .*Read-only.* the run in it is intact"):
        go_on(output)
    with pytest.raises(CheckpointError, match="Read-only"):
        run(small_disk / "other")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True, capture_output=True)
    go_on(output, train_batch=Mixing())
    run(tmp_path / "whole", net=tiny_net(drop=0.2), train=drawing_loader(), train_batch=Mixing(), **SETTINGS)
    assert_same_run(tmp_path / "whole", output)


def test_damaged_states_are_named(tmp_path: Path) -> None:
    go_on(tmp_path / "run")
    path = tmp_path / "run/last/train_state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"train_state.safetensors: not readable"):
        go_on(tmp_path / "run")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"train_state.safetensors: not readable"):
        go_on(tmp_path / "run")
    assert torch.isfinite(load_weights(tmp_path / "run/last")["head.weight"]).all()
