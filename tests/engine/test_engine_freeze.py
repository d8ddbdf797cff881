"""A frozen backbone, and learning rates of the classifier and of add-ons."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import NAMES, TinyNet, assert_same_run, config, run
from torch import Tensor, nn

import videozoo
from videozoo.augment import ARC, DNR
from videozoo.engine import TrainingError
from videozoo.engine.freeze import freeze_backbone
from videozoo.engine.optim import current_lr, make_optimizer, make_scheduler
from videozoo.fit_config import FitConfig, SettingError
from videozoo.models import Ensemble
from videozoo.temporal import MSN, TRN, TSM, TSN, TANet


class HeadedNet(TinyNet):
    """TinyNet that says what is its classifier, with a norm that was added to its backbone."""

    added_names = frozenset({"extra.weight", "extra.bias", "extra.running_mean", "extra.running_var"})

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.BatchNorm3d(3)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.extra(x))


def headed_net(seed: int = 0) -> HeadedNet:
    torch.manual_seed(seed)
    return HeadedNet()


def test_a_frozen_backbone_keeps_weights_and_statistics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="videozoo.engine")
    net = headed_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run(tmp_path / "run", net=net, freeze_backbone=True)
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias", *net.added_names, "extra.num_batches_tracked"}
    assert "freeze_backbone: 33 of 721 parameters are trained: head.weight, head.bias, extra.weight" in caplog.text


def test_a_frozen_run_is_resumed_exactly(tmp_path: Path) -> None:
    settings = {"freeze_backbone": True, "head_lr_scale": 5.0}
    run(tmp_path / "whole", net=headed_net(), epochs=2, **settings)
    with pytest.raises(TrainingError):
        run(tmp_path / "parts", net=headed_net(), epochs=2, train_batch=_broken_at(4), **settings)
    run(tmp_path / "parts", net=headed_net(1), epochs=2, resume=True, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def _broken_at(step: int):
    calls = iter(range(1, 100))

    def train_batch(video: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        return (video * float("nan") if next(calls) == step else video), label

    return train_batch


@pytest.mark.parametrize(
    ("temporal", "augmenters", "is_added"),
    [(TSM(), [], False), (TSM(), [ARC()], True), (TSN(), [DNR()], True), (TANet(), [], True), (TRN(), [], False)],
)
def test_what_is_added_to_a_backbone_is_trained(temporal: Any, augmenters: list[Any], is_added: bool) -> None:
    net = videozoo.compose("test_resnet", temporal, augmenters, num_classes=3, num_frames=4)
    head = {f"fc.{name}" for name, _ in net.fc.named_parameters()}
    trained = set(freeze_backbone(net.train()))
    assert head <= trained
    assert bool(trained - head) == is_added
    norms = [(key, part) for key, part in net.named_modules() if getattr(part, "running_mean", None) is not None]
    assert norms
    assert all(part.training == (f"{key}.running_mean" in net.added_names) for key, part in norms)
    net(torch.rand(2, 3, 4, 64, 64)).sum().backward()
    assert {key for key, part in net.named_parameters() if part.grad is not None} <= trained


def test_an_ensembles_members_are_frozen() -> None:
    net = Ensemble([videozoo.compose("test_resnet", TSM(), [ARC()], num_classes=3) for _ in range(2)])
    trained = freeze_backbone(net)
    assert {"members.0.fc.weight", "members.1.fc.weight"} <= set(trained)
    assert any(name.startswith("members.1.backbone.") for name in trained)


@pytest.mark.parametrize("other", [{"freeze_bn": True}, {"sync_bn": True}, {"layer_decay": 0.7}])
def test_what_contradicts_a_frozen_backbone_is_refused(other: dict) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(other))} has no effect with freeze_backbone"):
        FitConfig(freeze_backbone=True, **other)


def test_a_model_without_a_classifier_is_named(tmp_path: Path) -> None:
    for settings in ({"freeze_backbone": True}, {"head_lr_scale": 5.0}):
        with pytest.raises(ValueError, match=r"TinyNet has no classifier with parameters in get_classifier\(\)"):
            run(tmp_path / "run", net=TinyNet(len(NAMES)), **settings)


@pytest.mark.parametrize("sched", ["cosine", "none"])
@pytest.mark.parametrize("layer_decay", [None, 0.5])
def test_the_heads_learning_rate(sched: str, layer_decay: float | None) -> None:
    """Five times that of a run without the factor, at each step; current_lr stays the rate that was asked for."""
    net = videozoo.compose("test_resnet", TSM(), num_classes=3)
    rates = {}
    for scale in (1.0, 5.0):
        settings = config(epochs=4, lr=0.01, warmup_epochs=1.0, sched=sched, layer_decay=layer_decay,
                          head_lr_scale=scale)  # fmt: skip
        optimizer = make_optimizer(net, settings)
        scheduler = make_scheduler(optimizer, settings, updates_per_epoch=10)
        rows = []
        for step in (0, 5, 10, 30):
            if scheduler is not None:
                scheduler.step_update(step)
            lr_of = {id(part): group["lr"] for group in optimizer.param_groups for part in group["params"]}
            rows.append({name: lr_of[id(part)] for name, part in net.named_parameters()})
            assert current_lr(optimizer) == pytest.approx(rows[-1]["fc.weight"] / scale)
        rates[scale] = rows
    for plain, scaled in zip(rates[1.0], rates[5.0], strict=True):
        for name, rate in plain.items():
            assert scaled[name] == pytest.approx(rate * (5 if name.startswith("fc.") else 1))
    assert len(set(rates[5.0][0].values())) > (2 if layer_decay else 1)
    decays = {group["weight_decay"] for group in make_optimizer(net, settings).param_groups}
    assert decays == {0.0, settings.weight_decay}


@pytest.mark.parametrize("part", [ARC(), DNR()])
def test_the_learning_rate_of_an_add_on(part: ARC | DNR) -> None:
    """What ARC or DNR adds to MSN has the factor; the weights of the backbone, of MSN and of the head do not."""
    base = {name for name, _ in videozoo.compose("test_resnet", MSN(), num_classes=3).named_parameters()}
    net = videozoo.compose("test_resnet", MSN(), [part], num_classes=3)
    settings = config(lr=0.01, warmup_epochs=0, sched="none", addon_lr_scale=0.1, head_lr_scale=5.0)
    rate = {id(p): group["lr"] for group in make_optimizer(net, settings).param_groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        factor = 5 if name.startswith("fc.") else 1 if name in base else 0.1
        assert rate[id(parameter)] == pytest.approx(0.01 * factor), name
    assert len(set(rate.values())) == 3


def test_a_factor_for_add_ons_needs_one() -> None:
    net = videozoo.compose("test_resnet", TSM(), num_classes=3)
    with pytest.raises(ValueError, match="VideoNet has no parameters of an add-on; leave addon_lr_scale out"):
        make_optimizer(net, config(addon_lr_scale=0.1))
