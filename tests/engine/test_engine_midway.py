"""Stopped at any step of any epoch and resumed, a run ends as one that was never stopped, bit for bit."""

import logging
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_tiny import TinyClips, assert_same_run, run, tiny_net, train_loader
from helpers import hear_ctrl_c
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from videozoo.engine import CheckpointError, Stopped, load_train_state


class Kill(Exception):
    """Stands for SIGKILL: nothing is saved where it falls."""


class Mixing:
    """Mixes clips by draws from all three global generators; calls ``at_call`` at its ``at``-th call."""

    def __init__(self, at: int = -1, at_call: Callable[[], None] = lambda: None) -> None:
        self.at, self.at_call, self.calls = at, at_call, 0

    def __call__(self, video: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self.calls == self.at:
            self.at_call()
        share = float(np.random.beta(0.8, 0.8))
        other = torch.randperm(len(video)) if random.random() < 0.7 else torch.arange(len(video))
        target = functional.one_hot(label, 3).float()
        return video.lerp(video[other], share) + 0.01 * torch.randn(()), target.lerp(target[other], share)


class Drawing(TinyClips):
    """Items drawn from all three global generators, in whatever process they are made."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        item["video"] = item["video"] + random.random() + float(np.random.rand()) + torch.rand(())
        return item


def kill() -> None:
    raise Kill


def drawing_loader(**kwargs: Any) -> DataLoader:
    return DataLoader(Drawing(), batch_size=3, shuffle=True, **kwargs)


def killed_at_every_step(output: Path, make_loader: Callable[[], Any], **settings: Any) -> int:
    """Let the run do one step more each time it is resumed; the number of times it was killed."""
    for attempt in range(100):
        at = 1 + settings.get("grad_accum_steps", 1) * (attempt > 0)  # the first one before its first step
        try:
            run(output, net=tiny_net(seed=attempt if attempt else 0, drop=0.2), train=make_loader(), resume=True,
                train_batch=Mixing(at, kill), checkpoint_minutes=0, **settings)  # fmt: skip
            return attempt
        except Kill:
            random.seed(attempt)
            np.random.seed(attempt)
            torch.manual_seed(attempt)
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    "settings",
    [
        {"opt": "adamw", "class_weights": (1.0, 2.0, 0.5)},
        {"opt": "sgd", "grad_accum_steps": 2, "model_ema": True, "model_ema_decay": 0.6, "amp": "bf16"},
        {"opt": "lookahead_lamb", "channels_last": True, "model_ema": True, "model_ema_warmup": True, "clip_grad": 0.1},
    ],
    ids=lambda settings: settings["opt"],
)
def test_killed_at_every_step(tmp_path: Path, settings: dict) -> None:
    run(tmp_path / "whole", net=tiny_net(drop=0.2), train=drawing_loader(), train_batch=Mixing(), **settings)
    killed = killed_at_every_step(tmp_path / "parts", drawing_loader, **settings)
    assert killed == 8 // settings.get("grad_accum_steps", 1)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("persistent", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_with_workers(tmp_path: Path, persistent: bool) -> None:
    """Global draws in the workers too; the whole run makes its batches in its own process."""

    def loader() -> DataLoader:
        return drawing_loader(num_workers=2, persistent_workers=persistent)

    run(tmp_path / "whole", train=drawing_loader(), train_batch=Mixing())
    for at in (3, 4):
        with pytest.raises(Kill):
            run(tmp_path / "parts", train=loader(), train_batch=Mixing(at, kill), resume=True, checkpoint_minutes=0)
    run(tmp_path / "parts", train=loader(), train_batch=Mixing(), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


class Stream(IterableDataset):
    """No indices to skip by, and draws from the global state."""

    def __len__(self) -> int:
        return 12

    def __iter__(self):
        for index in range(12):
            item = TinyClips()[index]
            yield {**item, "video": item["video"] + torch.rand(())}


@pytest.mark.parametrize("kind", ["stream", "list"])
def test_killed_where_batches_cannot_be_skipped(tmp_path: Path, kind: str) -> None:
    def loader() -> Any:
        stream = DataLoader(Stream(), batch_size=4)
        return list(stream) if kind == "list" else stream

    torch.manual_seed(0)
    train = loader()
    run(tmp_path / "whole", train=train, train_batch=Mixing())
    for at in (2, 3):
        with pytest.raises(Kill):
            run(tmp_path / "parts", train=train, train_batch=Mixing(at, kill), resume=True, checkpoint_minutes=0)
    run(tmp_path / "parts", train=train, train_batch=Mixing(), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


class Counting(TinyClips):
    """Counts the items it is asked for."""

    made = 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.made += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_the_step_and_nothing_is_read_twice(tmp_path: Path, number: int, caplog) -> None:
    hear_ctrl_c()
    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path / "whole", train=DataLoader(Counting(), batch_size=2, shuffle=True), train_batch=Mixing())
    clips = Counting()
    train_batch = Mixing(10, lambda: signal.raise_signal(number))
    caplog.set_level(logging.INFO, logger="videozoo.engine")
    with pytest.raises(Stopped) as stopped:
        run(tmp_path / "parts", train=DataLoader(clips, batch_size=2, shuffle=True), train_batch=train_batch)
    assert stopped.value.number == number
    assert "interrupted: 1 of 2 epochs and 4 of 6 steps are kept" in caplog.text
    assert clips.made == 20
    assert load_train_state(tmp_path / "parts/last")["current"]["step"] == 4
    assert signal.getsignal(signal.SIGTERM) is before
    run(tmp_path / "parts", train=DataLoader(clips, batch_size=2, shuffle=True), train_batch=Mixing(), resume=True)
    assert "resumed after epoch 1 of 2 and step 4 of 6" in caplog.text
    assert clips.made == 24
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_stop_in_the_evaluation_keeps_the_epochs_training(tmp_path: Path) -> None:
    hear_ctrl_c()

    class Terminating(TinyClips):
        def __getitem__(self, index: int) -> dict[str, Any]:
            if index == 1 and stops:
                stops.pop()
                signal.raise_signal(signal.SIGTERM)
            return super().__getitem__(index)

    stops: list[int] = []
    run(tmp_path / "whole", val=DataLoader(Terminating(9, 2), batch_size=4))
    stops = [1]
    with pytest.raises(Stopped):
        run(tmp_path / "parts", val=DataLoader(Terminating(9, 2), batch_size=4))
    assert load_train_state(tmp_path / "parts/last")["current"]["step"] == 3
    train = train_loader()
    run(tmp_path / "parts", train=train, val=DataLoader(Terminating(9, 2), batch_size=4), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_checkpoints_alter_nothing(tmp_path: Path) -> None:
    for minutes in (10, 0):
        run(tmp_path / str(minutes), train=drawing_loader(), train_batch=Mixing(), model_ema=True,
            checkpoint_minutes=minutes)  # fmt: skip
    first, second = (load_train_state(tmp_path / name / "last")["config"] for name in ("10", "0"))
    assert {name for name in first if first[name] != second[name]} == {"checkpoint_minutes"}
    assert_same_run(tmp_path / "10", tmp_path / "0")


def test_other_batches_within_an_epoch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Kill):
        run(tmp_path / "run", train_batch=Mixing(3, kill), checkpoint_minutes=0)
    with pytest.raises(CheckpointError, match=r"after step 2, .* clips a step 4, now 6"):
        run(tmp_path / "run", train=train_loader(batch_size=6), resume=True)
    with pytest.raises(CheckpointError, match=r"training videos 12, now 15"):
        run(tmp_path / "run", train=train_loader(15), resume=True)
    run(tmp_path / "run", resume=True)
    # Between two epochs the videos may change.
    assert len(run(tmp_path / "run", train=train_loader(15), resume=True, epochs=3).history) == 3


def test_older_formats_are_named(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    path = tmp_path / "run/last/train_state.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(CheckpointError, match=r"format 1, .* start a new run from the weights in .*last"):
        run(tmp_path / "run", epochs=2, resume=True)
