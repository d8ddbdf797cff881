"""Tests of custom classifiers in place of ``fc``."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import clips, randomize
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic

from videozoo import TSM, VideoNet, compose
from videozoo.temporal import TRN

FRAMES, CLASSES = 4, 5
_TSM = TSM()


class CosineHead(nn.Module):
    """A module without any layer of torch: rows (B, F), no axis of time, by its own check."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, features))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ValueError(f"need (B, F), not {tuple(x.shape)}")
        return F.normalize(x, dim=1) @ F.normalize(self.weight, dim=1).t()


HEADS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda f: nn.Linear(f, CLASSES),
    "dropout and linear": lambda f: nn.Sequential(nn.Dropout(0.5), nn.Linear(f, CLASSES)),
    "perceptron": lambda f: nn.Sequential(nn.Linear(f, 8), nn.GELU(), nn.Linear(8, CLASSES)),
    "batch norm": lambda f: nn.Sequential(nn.BatchNorm1d(f), nn.Linear(f, CLASSES)),
    "layer norm": lambda f: nn.Sequential(nn.LayerNorm(f), nn.Linear(f, CLASSES)),
    "module of one's own": CosineHead,
}


def make(temporal: Any = _TSM) -> VideoNet:
    return randomize(compose("tiny_resnet", temporal, num_classes=CLASSES, num_frames=FRAMES)).eval()  # type: ignore[return-value]


def mean_features(net: VideoNet, x: Tensor) -> Tensor:
    return net.forward_head(net.forward_features(x), pre_logits=True)


QUICK = ("linear", "module of one's own")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HEADS]
)
def test_a_head_gets_the_mean_over_frames(name: str) -> None:
    net = make()
    net.fc = HEADS[name](net.num_features).eval()
    x = clips(2, FRAMES, 32)
    y = net(x)
    assert y.shape == (2, CLASSES)
    assert torch.equal(y, net.fc(mean_features(net, x)))
    stream = net.streaming()
    assert stream(x[:, :, 0]).shape == (2, CLASSES)
    assert torch.equal(torch.compile(net, fullgraph=True, backend="eager")(x), y)


def test_several_values_per_clip() -> None:
    """A head may give any shape: boxes, pairs, several answers."""
    net = make()
    net.fc = nn.Sequential(nn.Linear(net.num_features, 6), nn.Unflatten(1, (2, 3)))
    assert net(clips(2, FRAMES, 32)).shape == (2, 2, 3)


@pytest.mark.parametrize("temporal", [TSM(), TRN()], ids=["tsm", "trn"])
def test_dynamic_quantization_keeps_the_logits(temporal: Any) -> None:
    net = make(temporal)
    x = clips(2, FRAMES, 32)
    y, quantized = net(x), quantize_dynamic(net, {nn.Linear})(x)
    assert quantized.shape == (2, CLASSES)
    assert (quantized - y).abs().max() < 0.1 * y.abs().max()


@pytest.mark.parametrize("temporal", [TSM(), TRN()], ids=["tsm", "trn"])
@pytest.mark.parametrize("how", [{"modules_to_save": ["fc"]}, {"target_modules": r"fc|fc\.project|.*conv2"}])
@pytest.mark.extras
def test_peft_adapters_start_equal_to_the_model(temporal: Any, how: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    net = make(temporal)
    x = clips(2, FRAMES, 32)
    y = net(x)
    if temporal == TRN() and "target_modules" in how:
        how = {"target_modules": r"fc\.project|.*conv2"}
    adapted = peft.get_peft_model(net, peft.LoraConfig(**{"target_modules": r".*conv2", **how})).eval()
    torch.testing.assert_close(adapted(x), y)


def test_a_head_that_takes_frames_may_be_wrapped() -> None:
    net = make(TRN())
    x = clips(2, FRAMES, 32)
    y = net(x)
    net.fc = nn.Sequential(net.fc, nn.Identity()).eval()
    assert torch.equal(net(x), y)
    with pytest.raises(ValueError, match=r"TemporalRelation at fc\.0 has weights for 4 time steps"):
        net.set_num_frames(5)
    with pytest.raises(ValueError, match="cannot be causal"):
        net.streaming()
