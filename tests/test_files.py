"""Tests of atomic writes, file modes and locks between processes."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import REPO

from videozoo import files
from videozoo.engine import save_checkpoint
from videozoo.export import export_model
from videozoo.files import FolderTaken, claim_folder, lock_folder, recover_folder, replace_folder, write_file
from videozoo.hub.write import replace_folder as replace_model_folder
from videozoo.hub.write import save_weights
from videozoo.models import create_model

WEIGHTS = {"w": torch.zeros(2)}


@pytest.fixture(params=[0o002, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="no modes")
def test_every_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    """The safetensors package makes files that only their owner can read."""
    save_checkpoint(tmp_path / "run" / "best", WEIGHTS, {}, {"x": torch.ones(1)})
    replace_model_folder(tmp_path / "hub" / "model", lambda folder: save_weights(WEIGHTS, folder))
    export_model(create_model("test_arc_tsm"), tmp_path / "out" / "model.safetensors", "state-dict")
    write_file(tmp_path / "table.csv", "a,b\n")
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert len(modes) == 12
    wrong = [name for name, mode in modes.items() if mode != (0o777 if (tmp_path / name).is_dir() else 0o666) & ~umask]
    assert wrong == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    write_file(path, "caf\udce9")  # a path that is no UTF-8
    assert path.read_bytes() == b"caf\xe9"

    def fail(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, fail)
    assert path.read_bytes() == b"caf\xe9"
    assert [entry.name for entry in tmp_path.iterdir()] == ["list.csv"]


def test_half_written_folders_of_another_name_stay(tmp_path: Path) -> None:
    """`model.tag` may be on its way while `model` is written."""
    (tmp_path / ".model.tag.17.tmp").mkdir()
    (tmp_path / ".model.17.tmp").mkdir()
    replace_folder(tmp_path / "model", lambda folder: (folder / "a").touch())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.tag.17.tmp", "model"]
    (tmp_path / "model").rename(tmp_path / ".model.old")
    recover_folder(tmp_path / "model")
    assert (tmp_path / "model" / "a").exists()


def _hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that holds a folder and whose worker survives it."""
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom videozoo.files import lock_folder\n"
        "lock = lock_folder(Path(sys.argv[1]))\n"
        "if os.fork() == 0:\n    print('held', flush=True)\n    time.sleep(30)\n    os._exit(0)\ntime.sleep(30)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_one_process_holds_a_folder_until_it_ends(tmp_path: Path) -> None:
    process = _hold(tmp_path / "run")
    try:
        with pytest.raises(FolderTaken, match="another process is writing it; end that one") as caught:
            lock_folder(tmp_path / "run")
        assert caught.value.filename == str(tmp_path / "run")
        process.kill()  # its child lives on, as a loader's worker may
        process.wait()
        with lock_folder(tmp_path / "run"):
            assert (tmp_path / "run" / ".lock").exists()
        assert list((tmp_path / "run").iterdir()) == []
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_a_file_system_without_locks_grants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*args: object) -> None:
        raise OSError(files._NO_LOCKS[0], "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    lock_folder(tmp_path).close()


@pytest.mark.parametrize(
    ("mark", "kind", "message"),
    [
        ("last", "an evaluation", "holds a training run"),
        ("args.json", "a check of videos", "holds a training run"),
        ("scores.safetensors", "a training run", "holds an evaluation"),
        ("checked.jsonl", "prepared videos", "holds a check of videos"),
        ("prepared.jsonl", "a training run", "holds prepared videos"),
        ("model.safetensors", "a training run", "holds the weights of a model"),
    ],
)
def test_a_folder_holds_one_kind_of_result(tmp_path: Path, mark: str, kind: str, message: str) -> None:
    (tmp_path / mark).touch()
    with pytest.raises(FolderTaken, match=message):
        claim_folder(tmp_path, kind)
    claim_folder(tmp_path / "new", kind)


def test_an_evaluation_may_be_beside_the_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    claim_folder(tmp_path, "an evaluation", beside=("the weights of a model",))
    (tmp_path / "last").mkdir()
    with pytest.raises(FolderTaken, match="holds a training run"):
        claim_folder(tmp_path, "an evaluation", beside=("the weights of a model",))
