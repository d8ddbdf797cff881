"""Tests of tracers and of converters of norms and linear layers."""

from typing import Any

import pytest
import torch
from helpers import clips, randomize, small_video_net
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torchvision.models.feature_extraction import create_feature_extractor

from videozoo.temporal import TDN, TEMPORAL

every_module = pytest.mark.parametrize("name", TEMPORAL)


def make(name: str) -> Any:
    return randomize(small_video_net(TEMPORAL[name]())).eval()


@pytest.mark.slow
@every_module
def test_symbolic_tracing_and_extracted_features(name: str) -> None:
    net = make(name)
    if TEMPORAL[name] is TDN:
        pytest.skip("its stem branches on the size of its maps")
    x = clips(2, net.num_frames, 32)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(net)(x), net(x))
        maps = create_feature_extractor(net, {"backbone.layer4": "last"})(x)["last"]
        assert torch.equal(maps, net.forward_features(x).transpose(1, 2).flatten(0, 1))


@every_module
def test_synchronized_batch_norm_keeps_the_answer(name: str) -> None:
    net = make(name)
    x = clips(2, net.num_frames, 32)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(make(name))
    synced.load_state_dict(net.state_dict())
    assert not [m for m in synced.modules() if type(m) in (nn.BatchNorm1d, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(synced(x), net(x))


@every_module
def test_dynamic_quantization_keeps_the_answer(name: str) -> None:
    net = make(name)
    x = clips(2, net.num_frames, 32)
    with torch.no_grad():
        y, quantized = net(x), quantize_dynamic(net, {nn.Linear})(x)
    assert (quantized - y).abs().max() < 0.1 * y.abs().max()


def test_clips_of_bytes_are_refused() -> None:
    net = make("tsm")
    with pytest.raises(ValueError, match=r"input is torch.uint8, the model takes floating-point numbers; scale and"):
        net(torch.zeros(1, 3, 3, 32, 32, dtype=torch.uint8))
