"""Class weights, soft targets, early stop, layouts, compilation, trackers."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import TinyClips, run, tiny_net, val_loader
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from videozoo.engine import FitConfig, TrainingError, evaluate
from videozoo.engine.speed import use_channels_last
from videozoo.extras import MissingPackageError

WEIGHTS = (0.5, 2.0, 1.25)


def double_batches(num_videos: int, batch_size: int) -> list[dict[str, Any]]:
    clips = [TinyClips(num_videos, jitter=0.0)[index] for index in range(num_videos)]
    batches = [default_collate(clips[start : start + batch_size]) for start in range(0, num_videos, batch_size)]
    return [{**batch, "video": batch["video"].double()} for batch in batches]


def one_step_by_hand(net: nn.Module, lr: float, smoothing: float = 0.0, soft: Any = None) -> None:
    """A second implementation: torch's own weighted mean over the whole batch, and plain SGD."""
    batch = double_batches(6, 6)[0]
    loss = functional.cross_entropy(
        net(batch["video"]), batch["label"], weight=torch.tensor(WEIGHTS).double(), label_smoothing=smoothing
    )
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= lr * parameter.grad


@pytest.mark.parametrize(("batch_size", "steps"), [(6, 1), (2, 3), (4, 2)])
def test_class_weights_are_torchs_weighted_mean(tmp_path: Path, batch_size: int, steps: int) -> None:
    """Also where accumulated batches hold other classes, and other numbers of clips."""
    trained, by_hand = (tiny_net(norm=False).double() for _ in range(2))
    batches = double_batches(6, batch_size)
    val = [{**batch, "video": batch["video"][:, None]} for batch in batches]
    result = run(tmp_path / "run", net=trained, train=batches, val=val, grad_accum_steps=steps, class_weights=WEIGHTS,
        opt="momentum", momentum=0.0, weight_decay=0.0, warmup_epochs=0, sched="constant", epochs=1, lr=0.1,
        smoothing=0.1)  # fmt: skip
    one_step_by_hand(by_hand, 0.1, smoothing=0.1)
    for one, other in zip(trained.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    assert 0.8 < result.history[0].train_loss < 1.4


def test_soft_targets(tmp_path: Path) -> None:
    """Shares that name one class train as its number does, and top-1 is counted against the largest share."""
    nets = []
    for name, train_batch in {
        "hard": None,
        "soft": lambda video, label: (video, functional.one_hot(label, 3).float()),
    }.items():
        nets.append(tiny_net())
        result = run(tmp_path / name, net=nets[-1], train_batch=train_batch, epochs=3, lr=0.05, class_weights=WEIGHTS)
        assert result.history[-1].train_top1 > 0.5
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="class_weights has 2 numbers; needed: one for each of the 3 classes"):
        run(tmp_path / "other", class_weights=(1.0, 2.0))


def test_patience_ends_the_run_with_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Top-1 of a model that learns nothing stays, and an equal epoch is no better one unless its loss is lower."""
    settings = {"epochs": 9, "opt": "momentum", "lr": 1e-30, "warmup_epochs": 0, "momentum": 0.0, "sched": "constant"}
    net = tiny_net(norm=False)
    with caplog.at_level(logging.INFO, logger="videozoo.engine"):
        result = run(tmp_path / "run", net=net, patience=2, **settings)
    assert (len(result.history), result.best_epoch, result.stopped_early) == (3, 1, True)
    assert json.loads((tmp_path / "run/results.json").read_text())["stopped_early"] is True
    assert "stopped after epoch 3 of 9: patience is 2 epochs, and none since epoch 1 was better" in caplog.text
    again = run(tmp_path / "run", net=net, patience=2, resume=True, **settings)
    assert (len(again.history), again.stopped_early) == (3, True)
    longer = run(tmp_path / "run", net=net, patience=3, resume=True, **settings)
    assert len(longer.history) == 4
    through = run(tmp_path / "run", net=net, resume=True, **{**settings, "epochs": 5})
    assert (len(through.history), through.stopped_early) == (5, False)
    assert json.loads((tmp_path / "run/results.json").read_text())["stopped_early"] is False


class Both(nn.Module):
    """A 2-D and a 3-D convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu().transpose(1, 2).flatten(0, 1)
        x = self.conv(x)
        assert x.is_contiguous(memory_format=torch.channels_last)
        return self.head(x.relu().mean(dim=(2, 3)).unflatten(0, (-1, 4)).mean(dim=1))


def test_channels_last(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Both()
    run(tmp_path / "run", net=net, channels_last=True, epochs=1)
    assert net.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.stem.weight.is_contiguous(memory_format=torch.channels_last_3d)
    kept = load_file(tmp_path / "run/last/model.safetensors")
    assert torch.equal(kept["stem.weight"], net.stem.weight)
    plain = tiny_net()
    run(tmp_path / "plain", net=plain, opt="sgd", epochs=1)
    other = tiny_net()
    use_channels_last(other)
    run(tmp_path / "other", net=other, opt="sgd", epochs=1, channels_last=True)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("amp", ["no", "bf16"])
def test_compiled(tmp_path: Path, amp: str) -> None:
    """The same weights within rounding, the same keys, and the model as it was."""
    plain, compiled = tiny_net(), tiny_net()
    run(tmp_path / "plain", net=plain, amp=amp, model_ema=True, epochs=1, opt="sgd")
    run(tmp_path / "compiled", net=compiled, amp=amp, model_ema=True, compile=True, epochs=1, opt="sgd")
    assert "forward" not in compiled.__dict__
    kept = load_file(tmp_path / "compiled/last/model.safetensors")
    assert kept.keys() == plain.state_dict().keys()
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if amp == "no" else {"rtol": 0.05, "atol": 0.02}
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other, **tolerance)
    run(tmp_path / "compiled", net=tiny_net(seed=3), amp=amp, model_ema=True, epochs=2, opt="sgd", resume=True)
    assert evaluate(compiled, val_loader(), class_names=("a", "b", "c"), device="cpu").num_videos == 9


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchRuntimeError

    def refuse(function: Any) -> Any:
        def run_it(*args: Any) -> Any:
            raise TorchRuntimeError("no compiler here\nand more")

        return run_it

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(TrainingError, match=r"could not compile the model \(no compiler here\); train without"):
        run(tmp_path / "run", compile=True)


def test_compiling_wraps_the_models_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the trained and the averaged model run through what torch.compile gave."""
    seen: list[bool] = []

    def note(function: Any) -> Any:
        def run_it(x: Tensor) -> Any:
            seen.append(function.__self__.training)
            return function(x)

        return run_it

    monkeypatch.setattr(torch, "compile", note)
    net = tiny_net()
    run(tmp_path / "run", net=net, compile=True, model_ema=True, epochs=1)
    assert seen.count(True) == 3
    assert seen.count(False) == 3
    assert "forward" not in net.__dict__


@pytest.mark.extras
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(tmp_path / "run", log_with=("tensorboard",), log_interval=1)
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert {"train/loss", "lr", "val_top1", "train_loss"} <= set(events.Tags()["scalars"])
    told = events.Scalars("val_top1")
    assert [event.step for event in told] == [3, 6]
    assert [event.value for event in told] == pytest.approx([row.val_top1 for row in result.history])
    assert len(events.Scalars("train/loss")) == 6
    assert (tmp_path / "run/summary.csv").exists()


@pytest.mark.slow
@pytest.mark.extras
def test_wandb_without_a_key_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run(tmp_path / "run", log_with=("wandb",))
    assert list((tmp_path / "run/wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.extras
def test_a_tracker_that_is_absent_or_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    from videozoo.engine import trackers

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb", None)
        with pytest.raises(MissingPackageError, match="log_with=wandb needs wandb: pip install wandb"):
            run(tmp_path / "run", log_with=("wandb",))

    class Breaking:
        name = "tensorboard"

        def log(self, values: dict, step: int) -> None:
            raise OSError(28, "No space left on device")

        def finish(self) -> None:
            raise AssertionError("it was put aside")

    monkeypatch.setattr(trackers, "_start", lambda *args: Breaking())
    result = run(tmp_path / "other", log_with=("tensorboard",), log_interval=1)
    assert len(result.history) == 2
    assert caplog.text.count("tensorboard failed, nothing more is logged to it: [Errno 28]") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bad_frac": 1.5},
        {"checkpoint_minutes": -1},
        {"patience": 0},
        {"class_weights": (1.0, -1.0)},
        {"class_weights": (float("nan"),)},
        {"log_with": ("mlflow",)},
    ],
)
def test_wrong_settings_are_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=rf"FitConfig: {next(iter(wrong))} is .* must be"):
        FitConfig(**wrong)


def test_sync_bn_in_one_process_changes_nothing(tmp_path: Path) -> None:
    one, other = tiny_net(), tiny_net()
    run(tmp_path / "one", net=one, epochs=1)
    run(tmp_path / "other", net=other, epochs=1, sync_bn=True)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert type(other.norm) is nn.BatchNorm3d
