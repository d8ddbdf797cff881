"""Checkpoints are whole or absent, and hold nothing that could run."""

import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import run
from torch import nn

import videozoo.engine
from videozoo import files
from videozoo.engine import CheckpointError, checkpoint, load_train_state, load_weights, save_checkpoint
from videozoo.engine.checkpoint import flatten, replace_file, unflatten
from videozoo.files import recover_folder

WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3)}


def test_tree_round_trip(tmp_path: Path) -> None:
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "on": True}, 7: {"exp_avg": torch.ones(2, dtype=torch.bfloat16)}},
        "groups": [{"betas": (0.9, 0.999), "lr": 0.1 + 0.2, "none": None, "name": "é"}],
        "empty": {},
        "infinite": float("inf"),
    }
    save_checkpoint(tmp_path / "c", WEIGHTS, {"a": 1}, tree)
    back = load_train_state(tmp_path / "c")
    assert torch.equal(back["state"][7]["exp_avg"], tree["state"][7]["exp_avg"])
    assert back["state"][0] == {"step": torch.tensor(3.0), "on": True}
    assert back["groups"] == tree["groups"]
    assert isinstance(back["groups"][0]["betas"], tuple)
    assert (back["empty"], back["infinite"]) == ({}, float("inf"))
    assert torch.equal(load_weights(tmp_path / "c")["w"], WEIGHTS["w"])


def test_tree_refuses_code() -> None:
    with pytest.raises(TypeError, match=r"a.0 is a function"):
        flatten({"a": [lambda: 0]})
    assert unflatten(flatten([1, (2, 3)])[1], {}) == [1, (2, 3)]


def test_tied_weights_are_both_written(tmp_path: Path) -> None:
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    two.weight = one.weight
    net = nn.Sequential(one, two)
    save_checkpoint(tmp_path / "c", net.state_dict(), {})
    assert load_weights(tmp_path / "c").keys() == net.state_dict().keys()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("other")])
@pytest.mark.parametrize("at", [(checkpoint, "_save_tensors"), (files, "_settle_file"), (files, "_sync_folder")])
def test_failure_while_writing_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: tuple[Any, str]
) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, {"age": "old"}, {"x": 1})

    def fail(*args: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*at, fail)
        expected = CheckpointError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected) as caught:
            save_checkpoint(tmp_path / "last", {"w": torch.zeros(1)}, {"age": "new"}, {"x": 2})
    if expected is CheckpointError:
        assert "No space left on device" in str(caught.value)
        assert "previous checkpoint is intact" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert torch.equal(load_weights(tmp_path / "last")["w"], WEIGHTS["w"])
    assert load_train_state(tmp_path / "last") == {"x": 1}


def test_failure_between_the_two_renames_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, {})
    rename = Path.rename

    def fail_second(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(CheckpointError, match="intact"):
        save_checkpoint(tmp_path / "last", {"w": torch.zeros(1)}, {})
    assert torch.equal(load_weights(tmp_path / "last")["w"], WEIGHTS["w"])


def test_what_a_killed_process_leaves_is_put_in_order(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, {})
    # Killed between the renames: the old one lies aside, the new one is not yet there.
    (tmp_path / "last").rename(tmp_path / ".last.old")
    (tmp_path / ".last.tmp").mkdir()
    recover_folder(tmp_path / "last")
    assert torch.equal(load_weights(tmp_path / "last")["w"], WEIGHTS["w"])
    # Killed after them: the old one is still there and goes; half-written rests go at the next write.
    shutil.copytree(tmp_path / "last", tmp_path / ".last.old")
    save_checkpoint(tmp_path / "last", {"w": torch.zeros(1)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_run_cut_between_renames_resumes(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    (tmp_path / "run/last").rename(tmp_path / "run/.last.old")
    assert run(tmp_path / "run", epochs=2, resume=True).history[-1].epoch == 2


@pytest.mark.parametrize("limit", [100, 2000])
def test_a_disk_that_takes_no_more_is_named(tmp_path: Path, limit: int) -> None:
    """The kernel itself refuses, in the middle of the tensors or of the tree."""
    save_checkpoint(tmp_path / "last", WEIGHTS, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written \(.*too large"):
            save_checkpoint(tmp_path / "last", {"w": torch.zeros(100)}, {}, {"text": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert torch.equal(load_weights(tmp_path / "last")["w"], WEIGHTS["w"])


def test_run_on_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        run(tmp_path / "run")
    with pytest.raises(CheckpointError, match="could not be"):
        run(tmp_path / "run/deeper")


def test_replace_file_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.csv"
    replace_file(path, "old")

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_pickle_anywhere() -> None:
    room = Path(videozoo.engine.__file__).parent
    code = re.compile(r"torch\.(save|load)\(|import pickle|pickle\.|(numpy|np)\.load")
    for path in room.glob("*.py"):
        assert not code.search(path.read_text()), path.name
