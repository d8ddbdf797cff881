"""The loop: it learns, it weighs clips rightly, it stops where it must, and its folder can be read."""

import csv
import json
import logging
from pathlib import Path

import pytest
import torch
from engine_tiny import NAMES, FailingClips, TinyClips, TinyNet, config, run, tiny_net, train_loader, val_loader
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from videozoo.engine import CheckpointError, FitConfig, TrainingError, evaluate
from videozoo.engine.freeze import freeze_norms
from videozoo.engine.optim import current_lr, make_optimizer, make_scheduler
from videozoo.ranges import RANGES, Range


def test_overfits_four_clips(tmp_path: Path) -> None:
    result = run(
        tmp_path / "run",
        net=tiny_net(norm=False),
        train=train_loader(4),
        val=val_loader(4),
        epochs=30,
        lr=0.05,
    )
    assert result.history[-1].train_loss < 0.05
    assert result.history[-1].train_top1 == 1.0
    assert result.best["top1"] == 1.0


def test_folder_holds_what_is_promised(tmp_path: Path, pictures: None) -> None:
    rows = []
    result = run(tmp_path / "run", epochs=3, on_epoch=rows.append)
    out = tmp_path / "run"
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert names == [
        "best/config.json",
        "best/model.safetensors",
        "confusion.png",
        "curves.png",
        "last/config.json",
        "last/model.safetensors",
        "last/train_state.json",
        "last/train_state.safetensors",
        "results.json",
        "summary.csv",
    ]
    assert tuple(rows) == result.history
    with (out / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    columns = "epoch,lr,train_loss,train_top1,val_loss,val_top1,val_top5,val_mean_class,seconds,data_seconds"
    assert ",".join(table[0]) == columns
    results = json.loads((out / "results.json").read_text())
    assert results == result.best
    assert results["class_names"] == list(NAMES)
    assert (results["num_videos"], results["num_views"], results["num_clips"]) == (9, 2, 18)
    assert len(results["per_class"]) == 3
    best = json.loads((out / "best/config.json").read_text())
    assert best["architecture"] == "tiny"
    assert best["pretrained_cfg"]["num_frames"] == 4
    assert best["pretrained_cfg"]["metrics"]["top1"] == results["top1"]
    for name in ("curves.png", "confusion.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
        assert (out / name).stat().st_size > 10_000


def test_best_weights_give_the_best_results(tmp_path: Path) -> None:
    result = run(tmp_path / "run", epochs=4, lr=0.03)
    net = TinyNet()
    net.load_state_dict(load_file(tmp_path / "run/best/model.safetensors"))
    measured = evaluate(net, val_loader(), class_names=NAMES, device="cpu")
    assert measured.top1 == result.best["top1"]
    assert measured.loss == pytest.approx(result.best["loss"], abs=1e-6)
    merits = [(row.val_top1, -row.val_loss, -row.epoch) for row in result.history]
    assert result.best_epoch == -max(merits)[2]


@pytest.mark.parametrize("num_videos", [12, 10])
def test_grad_accumulation_equals_the_large_batch(tmp_path: Path, num_videos: int) -> None:
    """Also where the last group and its last batch are smaller than the others."""
    nets = []
    for batch_size, steps in ((6, 1), (2, 3)):
        net = tiny_net(norm=False).double()
        clips = [TinyClips(num_videos)[index] for index in range(num_videos)]
        batches = [
            torch.utils.data.default_collate(clips[start : start + batch_size])
            for start in range(0, num_videos, batch_size)
        ]
        for batch in batches:
            batch["video"] = batch["video"].double()
        val = [{**batch, "video": batch["video"][:, None]} for batch in batches]
        run(
            tmp_path / f"{steps}",
            net=net,
            train=batches,
            val=val,
            grad_accum_steps=steps,
            opt="sgd",
            smoothing=0.1,
            clip_grad=1.0,
        )
        nets.append(net)
    for one, many in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-6, atol=1e-7)


def test_averaged_weights_are_what_is_measured_and_kept(tmp_path: Path) -> None:
    net = tiny_net()
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = run(tmp_path / "run", net=net, model_ema=True, model_ema_decay=0.9, epochs=1, train=train_loader(4))
    # One step: timm's average copies the weights at its first update, so it equals the trained ones here.
    last = load_file(tmp_path / "run/last/model.safetensors")
    assert not torch.equal(last["head.weight"], start["head.weight"])
    result = run(tmp_path / "run2", net=tiny_net(), model_ema=True, model_ema_decay=0.9, epochs=3, lr=0.05)
    last = load_file(tmp_path / "run2/last/model.safetensors")
    state = load_file(tmp_path / "run2/last/train_state.safetensors")
    assert not torch.equal(last["head.weight"], state["trained_weights.head.weight"])
    averaged = TinyNet()
    averaged.load_state_dict(last)
    loss = evaluate(averaged, val_loader(), class_names=NAMES, device="cpu").loss
    assert loss == pytest.approx(result.history[-1].val_loss, abs=1e-6)
    assert result.best["weights"] == "averaged"


def test_ema_follows_its_equation(tmp_path: Path) -> None:
    """A second implementation: copy at the first step, then decay * average + (1 - decay) * weights."""
    seen: list[torch.Tensor] = []

    class Spy(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(self.head.weight.detach().clone())
            return super().forward(x)

    torch.manual_seed(0)
    net = Spy()
    run(tmp_path / "run", net=net, model_ema=True, model_ema_decay=0.8, epochs=2)
    trained = [*seen[1:], net.head.weight.detach()]
    average = trained[0]
    for weights in trained[1:]:
        average = 0.8 * average + 0.2 * weights
    kept = load_file(tmp_path / "run/last/model.safetensors")["head.weight"]
    torch.testing.assert_close(kept, average)


def test_freeze_bn_keeps_statistics_and_affine_pair(tmp_path: Path) -> None:
    net = tiny_net()
    before = {name: tensor.clone() for name, tensor in net.norm.state_dict().items()}
    conv = net.conv.weight.detach().clone()
    run(tmp_path / "run", net=net, freeze_bn=True)
    for name, tensor in net.norm.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not torch.equal(net.conv.weight, conv)
    with pytest.raises(ValueError, match="no module with running statistics"):
        freeze_norms(tiny_net(norm=False))


def test_norms_move_without_freeze_bn(tmp_path: Path) -> None:
    net = tiny_net()
    run(tmp_path / "run", net=net)
    assert net.norm.running_mean is not None
    assert net.norm.running_mean.abs().sum() > 0


def test_infinite_loss_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Poisoned(TinyClips):
        def __getitem__(self, index: int) -> dict:
            item = super().__getitem__(index)
            if self.epoch == 2:
                item["video"][0, 0, 0, 0] = float("nan")
            return item

    train = DataLoader(Poisoned(), batch_size=4, shuffle=True)
    with pytest.raises(TrainingError, match=r"loss is nan at epoch 3, step 1, lr .*lower learning rate"):
        run(tmp_path / "run", train=train, epochs=4)
    state = json.loads((tmp_path / "run/last/train_state.json").read_text())["tree"]
    assert len(state["history"]) == 2
    assert len((tmp_path / "run/summary.csv").read_text().splitlines()) == 3


def test_broken_weights_found_in_evaluation_keep_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last step that breaks the weights is only seen by the evaluation."""
    monkeypatch.setitem(RANGES, "lr", Range(above=0))
    train = [torch.utils.data.default_collate([TinyClips()[index] for index in range(4)])]
    with pytest.raises(TrainingError, match="not finite"):
        run(tmp_path / "run", train=train, opt="sgd", lr=1e38, warmup_epochs=0, weight_decay=0.0, sched="constant")
    assert load_file(tmp_path / "run/last/model.safetensors")["head.weight"].isfinite().all()


def test_refuses_a_folder_with_a_run(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    with pytest.raises(CheckpointError, match="already holds a run"):
        run(tmp_path / "run", epochs=1)


def test_an_error_in_the_data_reaches_the_caller(tmp_path: Path) -> None:
    train = DataLoader(FailingClips(RuntimeError("clip.mp4: broken"), at=14), batch_size=4)
    with pytest.raises(RuntimeError, match=r"clip.mp4: broken"):
        run(tmp_path / "run", train=train)
    assert len((tmp_path / "run/summary.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"train": []}, "fit: training: the loader gives no batch"),
        ({"train": train_loader(3, drop_last=True)}, r"3 videos, batch size 4, drop_last=True"),
        ({"val": []}, "fit: validation: the loader gives no batch"),
        ({"train": iter([])}, "has no length"),
        ({"net": tiny_net(num_classes=5)}, r"needed: \(4, 3\) for the 3 class names"),
        ({"train": [{"video": torch.zeros(1, 3, 4, 6, 6), "label": torch.tensor([-1])}]}, "labels go from -1"),
        ({"train": [{"video": torch.zeros(1, 3, 4, 6, 6)}]}, "label is not in"),
        ({"opt": "adamww"}, "nearest: .*adamw"),
        ({"amp": "fp16"}, "needs a GPU"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **kwargs)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"lr": -1}, {"sched": "plateau"}, {"warmup_epochs": 31}, {"amp": "fp8"}, {"sched": "multistep"}],
)
def test_wrong_settings_are_named(wrong: dict) -> None:
    name = "decay_milestones" if wrong == {"sched": "multistep"} else next(iter(wrong))
    with pytest.raises(ValueError, match=f"FitConfig: {name} is "):
        FitConfig(**wrong)


@pytest.mark.parametrize("sched", ["cosine", "constant", "step", "multistep", "poly", "tanh", "wsd", "rsqrt", "none"])
def test_schedules_warm_up_by_the_step(sched: str) -> None:
    settings = config(
        epochs=10,
        sched=sched,
        warmup_epochs=1.5,
        decay_epochs=30 if sched == "step" else None,
        lr=0.1,
        decay_milestones=(5, 8),
        warmup_lr=0.0,
    )
    optimizer = make_optimizer(tiny_net(), settings)
    scheduler = make_scheduler(optimizer, settings, updates_per_epoch=4)
    if scheduler is None:
        assert sched == "none"
        return
    rates = []
    for num_updates in range(40):
        scheduler.step_update(num_updates)
        rates.append(current_lr(optimizer))
    torch.testing.assert_close(torch.tensor(rates[:6]), torch.arange(6) * 0.1 / 6)
    assert max(rates) == pytest.approx(0.1, rel=0.2)
    falls = {"constant": 0.1, "multistep": 0.001, "step": 0.1}
    assert rates[-1] == pytest.approx(falls[sched]) if sched in falls else rates[-1] < 0.02


def test_no_weight_decay_is_honoured() -> None:
    net = tiny_net()
    groups = make_optimizer(net, config(weight_decay=0.3)).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] > 0 for parameter in group["params"]}
    assert decayed == {id(net.conv.weight), id(net.head.weight)}


def test_the_model_is_returned_without_wrappers(tmp_path: Path) -> None:
    """bf16 leaves no wrapper behind, and the same process can then train in full precision."""
    net = tiny_net()
    run(tmp_path / "bf16", net=net, amp="bf16")
    assert "forward" not in net.__dict__
    assert net(torch.zeros(1, 3, 4, 6, 6)).dtype == torch.float32
    assert net.conv.weight.dtype == torch.float32
    run(tmp_path / "full", net=net)


def test_progress_lines_carry_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="videozoo.engine"):
        run(tmp_path / "run", epochs=1, log_interval=2)
    text = caplog.text
    assert "epoch 1/1 step 2/3: loss" in text
    assert "step 3/3" in text
    assert "(data 0." in text
    assert "epoch 1/1 done" in text


def test_plain_module_without_norms_trains_with_sgd(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 6 * 6, 3))
    assert run(tmp_path / "run", net=net, opt="sgd", epochs=1).best_epoch == 1
