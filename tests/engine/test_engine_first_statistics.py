"""Fresh norms average their first batch statistics evenly, and then move as torch's do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_tiny import TinyNet, run, tiny_net, train_loader
from torch import Tensor, nn

from videozoo.engine import load_train_state
from videozoo.engine.first_statistics import FirstStatistics, fresh_norms

MOMENTUM = 0.1


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 + 2 * torch.randn(6, 4, 5, 5, generator=generator) for _ in range(count)]


def statistics_of(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))


@pytest.mark.parametrize("per_step", [1, 3])
def test_against_a_plain_average(per_step: int) -> None:
    """Steps of one batch, or of several whose own average is torch's moving one."""
    net = nn.Sequential(nn.BatchNorm2d(4)).train()
    first = FirstStatistics(net, fresh_norms(net))
    own_weight = 1 - (1 - MOMENTUM) ** per_step
    mean, var = torch.zeros(4), torch.ones(4)
    data = iter(batches(20 * per_step))
    for step in range(1, 21):
        group = [next(data) for _ in range(per_step)]
        with first.follow(step):
            for x in group:
                net(x)
        weights = torch.tensor([MOMENTUM * (1 - MOMENTUM) ** age for age in reversed(range(per_step))]) / own_weight
        found = [statistics_of(x) for x in group]
        means, variances = (sum(w * pair[k] for w, pair in zip(weights, found, strict=True)) for k in (0, 1))
        weight = max(1 / step, own_weight)
        mean, var = mean.lerp(means, weight), var.lerp(variances, weight)
        torch.testing.assert_close(net[0].running_mean, mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net[0].running_var, var, rtol=1e-5, atol=1e-5)
        if step == 1 and per_step == 1:
            torch.testing.assert_close(net[0].running_mean, statistics_of(group[0])[0], rtol=1e-5, atol=1e-5)
    assert first.names(20) == []


def test_only_fresh_norms() -> None:
    """Those with statistics, without them, and without a momentum stay as they are."""
    norms: list[Any] = [nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False),
                        nn.BatchNorm2d(4, momentum=None), nn.GroupNorm(2, 4)]  # fmt: skip
    net = nn.Sequential(*norms).train()
    net[1].running_mean.fill_(0.5)
    assert fresh_norms(net) == ["0"]
    plain = nn.Sequential(*[type(net[1])(4) for _ in range(2)])
    plain[1].running_mean.fill_(0.5)
    first = FirstStatistics(net, fresh_norms(net))
    for step, x in enumerate(batches(3), 1):
        with first.follow(step):
            net[1](x)  # and a fresh one that is not called, as in evaluation mode
        plain[1](x)
    assert torch.equal(net[1].running_mean, plain[1].running_mean)
    assert not net[0].running_mean.any()
    assert first.names(0) == first.names(8) == ["0"]
    assert first.names(9) == []


def test_in_a_run(tmp_path: Path) -> None:
    """Three steps: the mean of three batches, in `last` too; what came with weights, and frozen norms, as ever."""
    seen: list[Tensor] = []

    class Spy(TinyNet):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(self.conv(x).detach().mean(dim=(0, 2, 3, 4)))
            return super().forward(x)

    torch.manual_seed(0)
    net = Spy()
    run(tmp_path / "run", net=net, epochs=1, model_ema=True)
    assert len(seen) == 3
    torch.testing.assert_close(net.norm.running_mean, torch.stack(seen).mean(dim=0), rtol=1e-4, atol=1e-5)
    assert load_train_state(tmp_path / "run/last")["fresh_norms"] == ["norm"]
    started = tiny_net()
    started.norm.running_var.fill_(2.0)
    run(tmp_path / "started", net=started, epochs=1)
    assert load_train_state(tmp_path / "started/last")["fresh_norms"] == []
    assert started.norm.running_var.mean() > 0.9**3 * 2
    frozen = tiny_net()
    run(tmp_path / "frozen", net=frozen, epochs=1, freeze_bn=True, train=train_loader(4))
    assert not frozen.norm.running_mean.any()
