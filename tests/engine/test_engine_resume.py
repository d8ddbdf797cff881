"""Stopped anywhere and resumed, a run ends with the same weights bit for bit as one never stopped."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from engine_tiny import FailingClips, TinyNet, assert_same_run, run, tiny_net, train_loader
from helpers import hear_ctrl_c
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

from videozoo.engine import CheckpointError
from videozoo.engine.train_loader import mix_seed


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


class Stop(Exception):
    pass


def stop_after(epoch: int):
    def on_epoch(row) -> None:
        if row.epoch == epoch:
            raise Stop

    return on_epoch


@pytest.mark.parametrize(
    "settings",
    [
        {"opt": "adamw"},
        {"opt": "sgd", "grad_accum_steps": 2, "sched": "multistep", "decay_milestones": (2,)},
        {"opt": "lookahead_adamw", "model_ema": True, "model_ema_decay": 0.7, "model_ema_warmup": True},
        {"opt": "lamb", "freeze_bn": True, "amp": "bf16", "clip_grad": 0.5},
    ],
    ids=lambda settings: settings["opt"],
)
def test_resumed_equals_uninterrupted(tmp_path: Path, settings: dict) -> None:
    run(tmp_path / "whole", epochs=4, **settings)
    for epoch in (1, 3):
        with pytest.raises(Stop):
            run(tmp_path / "parts", epochs=4, resume=epoch > 1, on_epoch=stop_after(epoch), **settings)
    torch.manual_seed(123)  # whatever happened to the global state in between
    run(tmp_path / "parts", epochs=4, resume=True, net=tiny_net(seed=9, drop=0.2), **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def loader_with(kind: str) -> DataLoader:
    clips = train_loader().dataset
    if kind == "generator":
        return train_loader(generator=torch.Generator().manual_seed(5))
    if kind == "workers":
        return train_loader(num_workers=2)
    if kind == "persistent":
        return train_loader(num_workers=2, persistent_workers=True, jitter=0.0)
    sampler = WeightedRandomSampler([1.0] * 12, 12, generator=torch.Generator())
    return DataLoader(clips, batch_size=4, sampler=sampler)


@pytest.mark.parametrize("kind", ["generator", "workers", "persistent", "weighted"])
def test_every_kind_of_shuffling_is_restored(tmp_path: Path, kind: str) -> None:
    run(tmp_path / "whole", train=loader_with(kind))
    with pytest.raises(Stop):
        run(tmp_path / "parts", train=loader_with(kind), on_epoch=stop_after(1))
    run(tmp_path / "parts", train=loader_with(kind), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_number_of_workers_does_not_matter_for_the_order(tmp_path: Path) -> None:
    orders = []
    for workers in (0, 2):
        seen: list[int] = []

        class Spy(TinyNet):
            def forward(self, x: Tensor) -> Tensor:
                if self.training:
                    seen.extend(x.mean(dim=(2, 3, 4)).argmax(dim=1).tolist())  # noqa: B023
                return super().forward(x)

        torch.manual_seed(0)
        run(tmp_path / str(workers), net=Spy(), train=train_loader(num_workers=workers))
        orders.append(seen)
    assert orders[0] == orders[1]
    assert orders[0][:12] != orders[0][12:]  # epochs differ


@pytest.mark.parametrize("at", [3, 17, 30])
def test_interrupt_leaves_a_run_that_goes_on(tmp_path: Path, at: int) -> None:
    """Ctrl-C in the first, second and third epoch: the finished epochs are kept, the broken one is done again."""
    run(tmp_path / "whole", epochs=3)
    train = DataLoader(FailingClips(KeyboardInterrupt(), at=at), batch_size=4, shuffle=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", epochs=3, train=train)
    table = (tmp_path / "parts/summary.csv").read_text().splitlines()
    assert len(table) == 1 + (at - 1) // 12
    assert sorted(path.name for path in (tmp_path / "parts").iterdir() if path.name.startswith(".")) == []
    run(tmp_path / "parts", epochs=3, train=train, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


SCRIPT = """
import logging, sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from engine_tiny import TinyClips, run
from torch.utils.data import DataLoader

class Slow(TinyClips):
    def __getitem__(self, index):
        time.sleep(0.01)
        return super().__getitem__(index)

logging.basicConfig(level=logging.INFO)
train = DataLoader(Slow(), batch_size=4, shuffle=True, num_workers={workers})
run(Path({output!r}), train=train, epochs={epochs}, resume=True)
"""


def start_script(output: Path, workers: int, epochs: int) -> subprocess.Popen:
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[1])]
    code = textwrap.dedent(SCRIPT).format(paths=paths, output=str(output), workers=workers, epochs=epochs)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )


def wait_for(path: Path, process: subprocess.Popen, lines: int) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no epoch was finished: {process.communicate()[0]}")
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals to a process group")
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_signals_leave_a_run_that_goes_on(tmp_path: Path, kind: str) -> None:
    """The terminal's Ctrl-C and a scheduler's SIGTERM reach the workers too; SIGKILL asks nobody."""
    output = tmp_path / "run"
    process = start_script(output, workers=2, epochs=50)
    wait_for(output / "summary.csv", process, lines=3)
    os.killpg(process.pid, getattr(signal, kind))
    text = process.communicate(timeout=300)[0]
    if kind != "SIGKILL":
        assert "interrupted:" in text
        assert text.rstrip().endswith(f"Stopped: stopped by {kind}")
    done = len((output / "summary.csv").read_text().splitlines()) - 1
    assert done >= 2
    epochs = done + 2
    process = start_script(output, workers=0, epochs=50)
    wait_for(output / "summary.csv", process, lines=1 + epochs)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=300)[0]
    assert f"resumed after epoch {done} of 50" in text or f"resumed after epoch {done + 1} of 50" in text


def test_finished_run_resumed_is_left_alone(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    before = weights(tmp_path / "run/last")
    again = run(tmp_path / "run", resume=True)
    assert again.history == result.history
    assert again.best == result.best
    assert all(torch.equal(before[key], tensor) for key, tensor in weights(tmp_path / "run/last").items())


def test_longer_run_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=2)
    assert [row.epoch for row in run(tmp_path / "run", epochs=3, resume=True).history] == [1, 2, 3]


def test_nothing_to_resume_starts(tmp_path: Path) -> None:
    assert run(tmp_path / "run", resume=True, epochs=1).best_epoch == 1


def test_other_settings_or_another_model_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    with pytest.raises(CheckpointError, match=r"lr was 0.01, is 0.5"):
        run(tmp_path / "run", epochs=1, resume=True, lr=0.5)
    with pytest.raises(CheckpointError, match="another model than the TinyNet"):
        run(tmp_path / "run", epochs=1, resume=True, net=tiny_net(norm=False))
    (tmp_path / "run/last/train_state.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable"):
        run(tmp_path / "run", epochs=1, resume=True)


def test_epoch_seeds_do_not_clash() -> None:
    seeds = {mix_seed(seed, epoch) for seed in range(50) for epoch in range(50)}
    assert len(seeds) == 2500
    assert max(seeds) < 2**31


class Interrupting(FailingClips):
    """Sends Ctrl-C while the item ``at`` is made, ``times`` times."""

    def __init__(self, at: int, times: int) -> None:
        super().__init__(KeyboardInterrupt(), at)
        self.times, self.made = times, 0

    def __getitem__(self, index: int) -> dict:
        if self.left == 1:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        self.left -= 1
        self.made += 1
        return super(FailingClips, self).__getitem__(index)  # past the error of FailingClips


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_waits_for_the_step_and_a_second_does_not(tmp_path: Path, times: int) -> None:
    hear_ctrl_c()
    clips = Interrupting(at=15, times=times)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", train=DataLoader(clips, batch_size=4))
    assert clips.made == (16 if times == 1 else 14)  # its batch of four is trained on
    assert len((tmp_path / "run/summary.csv").read_text().splitlines()) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_in_validation_is_heard_at_its_next_batch(tmp_path: Path) -> None:
    hear_ctrl_c()
    clips = Interrupting(at=2, times=1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", val=DataLoader(clips, batch_size=4))
    assert clips.made == 4  # the next one is not read
