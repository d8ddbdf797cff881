"""What could cost a run: a refused or failed start, results without a run, a second process, divergence."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import NAMES, TinyNet, config, run, tiny_net, train_loader, val_loader
from helpers import REPO
from safetensors.torch import load_file
from test_engine_midway import Kill, Mixing, kill
from torch import Tensor, nn
from torch.utils.data import DataLoader

from videozoo.engine import CheckpointError, TrainingError, fit, load_train_state, read_run
from videozoo.engine.metrics import pack_counts, unpack_counts


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _start(output: Path, started: list[str], **kwargs: Any) -> None:
    names = kwargs.pop("class_names", NAMES)
    net = kwargs.pop("net", None) or tiny_net(drop=0.2)
    fit(net, train_loader(), val_loader(), config(**kwargs.pop("settings", {})), output, class_names=names,
        model_config={}, on_start=lambda: started.append("started"), **kwargs)  # fmt: skip


def test_nothing_is_written_before_a_run_is_accepted(tmp_path: Path) -> None:
    started: list[str] = []
    _start(tmp_path / "run", started)
    assert started == ["started"]
    before = _content(tmp_path / "run")
    refused: list[dict[str, Any]] = [
        {"settings": {"lr": 0.5}, "resume": True},
        {"settings": {"log_with": ("tensorboard",)}, "net": tiny_net(norm=False), "resume": True},
        {"class_names": ("a", "b", "c"), "resume": True},
        {},
    ]
    for kwargs in refused:
        with pytest.raises(CheckpointError):
            _start(tmp_path / "run", started, **kwargs)
    assert started == ["started"]
    assert _content(tmp_path / "run") == before
    with pytest.raises(ValueError, match="class_weights"):
        _start(tmp_path / "other", started, settings={"class_weights": (1.0,)})
    assert not (tmp_path / "other").exists()


def test_results_without_their_run_are_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    (tmp_path / "run" / "last").rename(tmp_path / "elsewhere")
    before = _content(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"holds results \(best, summary.csv\) and no last to go on from"):
        run(tmp_path / "run", resume=True)
    assert _content(tmp_path / "run") == before


def test_a_failed_first_step_can_be_started_again(tmp_path: Path) -> None:
    """As after a batch that needs too much memory; once a step is kept the folder holds a run."""
    for at in (1, 2):
        with pytest.raises(Kill):
            run(tmp_path / "run", train_batch=Mixing(at, kill))
    with pytest.raises(Kill):
        run(tmp_path / "run", train_batch=Mixing(2, kill), checkpoint_minutes=0)
    with pytest.raises(CheckpointError, match="already holds a run"):
        run(tmp_path / "run")


_HOLDER = """
import sys, time
from pathlib import Path
from videozoo.files import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "run")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPO)})
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        for resume in (True, False):
            with pytest.raises(CheckpointError, match="another process is writing it; end that one"):
                run(tmp_path / "run", resume=resume)
    finally:
        holder.kill()
        holder.wait()
    run(tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / ".lock").exists()


def test_other_results_are_not_mixed_with_a_run(tmp_path: Path) -> None:
    (tmp_path / "scores.safetensors").touch()
    with pytest.raises(CheckpointError, match="holds an evaluation; give another folder"):
        run(tmp_path)


class Breaking(TinyNet):
    """Its weights become nan at the end of a step whose loss is still finite."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            if self.left == 0:
                self.scale.register_hook(lambda gradient: gradient * float("nan"))
        return super().forward(x)


@pytest.mark.parametrize("at", [2, 5])
def test_the_checkpoint_kept_after_divergence_is_a_good_one(tmp_path: Path, at: int) -> None:
    """A checkpoint after every step: the one of the broken step is not kept, and the advice can be followed."""
    with pytest.raises(TrainingError, match=r"scale are not finite any more.* it would come to the same point"):
        run(tmp_path / "run", net=Breaking(at), checkpoint_minutes=0)
    state = load_train_state(tmp_path / "run/last")
    assert (len(state["history"]), state["current"]["step"]) == divmod(at - 1, 3)
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run/last/model.safetensors").values())
    with pytest.raises(TrainingError) as caught:
        run(tmp_path / "run", net=Breaking(1), checkpoint_minutes=0, resume=True)
    best = tmp_path / "run" / "best"
    assert (f"from the weights in {best}" if at == 5 else "with another output folder") in str(caught.value)


@pytest.mark.parametrize(("batch_size", "accum"), [(2, 2), (1, 4)])
def test_other_batches_of_as_many_clips_go_on(tmp_path: Path, batch_size: int, accum: int) -> None:
    """Within an epoch: the next step takes the clips that it would have taken."""
    settings: dict[str, Any] = {"opt": "sgd", "sched": "constant", "warmup_epochs": 0.0}

    def still(size: int) -> DataLoader:
        return train_loader(batch_size=size, jitter=0.0)

    def net() -> nn.Module:
        return tiny_net(norm=False)

    run(tmp_path / "whole", net=net(), train=still(4), **settings)
    with pytest.raises(Kill):
        run(tmp_path / "parts", net=net(), train=still(4), train_batch=_Failing(2), checkpoint_minutes=0, **settings)
    with pytest.raises(CheckpointError, match=r"after step 1, .* clips a step 4, now 2"):
        run(tmp_path / "parts", net=net(), train=still(2), resume=True, **settings)
    run(tmp_path / "parts", net=net(), train=still(batch_size), resume=True, grad_accum_steps=accum, **settings)
    whole, parts = (load_file(tmp_path / name / "last/model.safetensors") for name in ("whole", "parts"))
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-6)


class _Failing:
    """Lets the n-th batch fail."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, video: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        self.left -= 1
        if self.left == 0:
            raise Kill
        return video, label


def test_other_steps_between_epochs(tmp_path: Path) -> None:
    """As many clips a step by another batch size are the same run; others are not."""
    run(tmp_path / "run", epochs=1)
    with pytest.raises(CheckpointError, match="was trained with 4 clips per step, now there would be 6"):
        run(tmp_path / "run", train=train_loader(batch_size=6), resume=True)
    with pytest.raises(CheckpointError, match="was trained with 4 clips per step, now there would be 8"):
        run(tmp_path / "run", grad_accum_steps=2, resume=True)
    assert len(run(tmp_path / "run", train=train_loader(batch_size=2), grad_accum_steps=2, resume=True).history) == 2


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the whole confusion matrix and counts the batches of a process."""
    from videozoo.engine import run_folder, train_loader

    old = {"training videos": 12, "clips in the processes' batches": 4, "batches of a process": 3}
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "pack_counts", lambda confusion: confusion)
        patch.setattr(train_loader.TrainLoader, "layout", lambda self, accum: old)
        run(tmp_path / "run", epochs=1)
        confusion = read_run(tmp_path / "run").confusion
    assert confusion is not None
    assert confusion.shape == (3, 3)
    assert len(run(tmp_path / "run", resume=True).history) == 2
    assert read_run(tmp_path / "run").confusion.sum() == 9


def test_another_training_set_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{index}.mp4" for index in range(12)]
    run(tmp_path / "run", epochs=1, train_names=names)
    run(tmp_path / "run", epochs=2, train_names=names, resume=True)
    assert "training set" not in caplog.text
    run(tmp_path / "run", epochs=3, train_names=[*names[:11], "other.mp4"], resume=True)
    assert "the training set is not the one that the run has seen so far (12 videos then, 12 now)" in caplog.text
    caplog.clear()
    run(tmp_path / "run", epochs=4, train=train_loader(15), resume=True)
    assert "(12 videos then, 15 now)" in caplog.text


def test_another_number_of_validation_videos_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path / "run", epochs=1)
    run(tmp_path / "run", epochs=2, resume=True)
    assert "cannot be compared" not in caplog.text
    run(tmp_path / "run", epochs=3, val=train_loader(12), resume=True)
    assert "was measured on 9 validation videos, now there are 12" in caplog.text


def test_many_classes_keep_a_checkpoint_small(tmp_path: Path) -> None:
    names = tuple(map(str, range(3000)))
    net = TinyNet(len(names))
    fit(net, train_loader(), val_loader(), config(epochs=1, opt="sgd"), tmp_path, class_names=names, model_config={})
    weights = sum(tensor.nbytes for tensor in net.state_dict().values())
    assert sum(path.stat().st_size for path in (tmp_path / "last").iterdir()) < 4 * weights
    confusion = read_run(tmp_path).confusion
    assert confusion is not None
    assert confusion.shape == (3000, 3000)
    assert confusion.sum() == 9


def test_counts_are_packed_without_loss() -> None:
    confusion = torch.zeros(4, 4, dtype=torch.int64)
    confusion[0, 3], confusion[3, 3] = 7, 2
    packed = pack_counts(confusion)
    assert packed["counts"].tolist() == [7, 2]
    assert torch.equal(unpack_counts(packed), confusion)
