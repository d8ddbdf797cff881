"""Tests that added modules have the mode, dtype and device of their parent."""

from typing import Any

import pytest
import torch
from helpers import randomize, small_base
from torch import Tensor, nn

import videozoo
from videozoo import ARC, DNR
from videozoo.temporal import TDN, TEMPORAL

T = 3
PARTS = [*(kind() for kind in TEMPORAL.values()), ARC(attention_layer="gru"), DNR(), DNR(keep_affine=True, norm="gn")]
every_part = pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)


def folded(part: Any, num_clips: int) -> Tensor:
    """Frames (B*S, C, H, W); those of TDN and ABM hold several frames each."""
    return torch.randn(num_clips * T, 3 * getattr(part, "frames_per_segment", 1), 32, 32)


@every_part
def test_a_model_in_evaluation_stays_in_evaluation(part: Any) -> None:
    net = small_base(part).eval()
    part.apply(net, T)
    assert not [name for name, module in net.named_modules() if module.training]
    x = folded(part, 2)
    with torch.no_grad():
        together, alone = randomize(net)(x)[:T], net(x[:T])
    assert (together - alone).abs().max() < 1e-4 * alone.abs().max()


@every_part
def test_added_modules_take_the_mode_of_their_parent(part: Any) -> None:
    net: Any = small_base(part).train()
    net.layer2.eval()
    part.apply(net, T)
    assert not [name for name, module in net.layer2.named_modules() if module.training]
    assert not [name for name, module in net.layer3.named_modules() if not module.training]


@every_part
def test_norms_that_were_frozen_stay_frozen(part: Any) -> None:
    net = small_base(part).train()
    frozen = [module.eval() for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    part.apply(net, T)
    assert not [module for module in net.modules() if module in frozen and module.training]


@every_part
def test_added_modules_take_the_dtype_and_device_of_their_parent(part: Any) -> None:
    net = small_base(part).double()
    part.apply(net, T)
    assert net(folded(part, 2).double()).isfinite().all()
    away = small_base(part).to("meta")
    part.apply(away, T)
    assert {tensor.device.type for tensor in (*away.parameters(), *away.buffers())} == {"meta"}


def test_a_new_relation_head_takes_the_mode_of_its_model() -> None:
    net = videozoo.compose("test_resnet", videozoo.temporal.TRN(), num_classes=4, num_frames=6).eval()
    net.reset_classifier(3)
    assert not net.fc.training
    x = torch.randn(1, 3, 6, 32, 32)
    assert torch.equal(net(x), net(x))


def test_tdn_leaves_a_frozen_backbone_frozen() -> None:
    net = small_base(TDN()).requires_grad_(False)
    TDN().apply(net, T)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trained
    assert all("diff_stem." in name or "conv2.pre." in name for name in trained)
