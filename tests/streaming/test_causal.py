"""Tests of causal models: composed, trained, saved, and refused where not supported."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import clips, randomize
from safetensors.torch import save_file
from torch.nn import functional as F

from videozoo import ARC, DNR, TSM, TSN, ModelSpec, compose, create_model, model_config
from videozoo.augment import ArcConv2d
from videozoo.augment.causal import CausalArcConv2d
from videozoo.layers import TemporalAdaptive
from videozoo.layers.causal import CausalShift, CausalTemporalAdaptive
from videozoo.models.causal import causal_form
from videozoo.surgery import adopt
from videozoo.temporal import MSN, TANet


def test_a_causal_model_is_composed_saved_and_loaded(tmp_path: Path) -> None:
    model = create_model("test_arc_tsm", num_classes=3, num_frames=4, causal=True).eval()
    randomize(model)
    config = model_config(model)
    assert config["spec"]["causal"] is True
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = create_model(tmp_path, pretrained=True).eval()
    x = clips(2, 4, size=32)
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    assert again.spec.causal
    assert "causal" in again.spec.title
    stream = again.streaming()  # is causal, so nothing needs to be allowed
    logits = [stream(frame) for frame in x.unbind(2)][-1]
    torch.testing.assert_close(logits, model(x).detach(), rtol=1e-4, atol=1e-5)


def test_keys_and_weights_equal_those_of_the_model() -> None:
    one, other = compose("tiny_resnet", TSM(), [DNR()]), compose("tiny_resnet", TSM(), [DNR()], causal=True)
    other.load_state_dict(one.state_dict())
    x = clips(1, 8, size=32)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(x), causal_form(one).eval()(x), rtol=0, atol=0)
    assert "causal" not in one.spec.to_dict()
    assert ModelSpec.from_dict(other.spec.to_dict()) == other.spec


@pytest.mark.parametrize("parts", [(TSM(), ()), (TSN(), (DNR(ct_group_frames=2),)), (TSM(), (ARC(),)), (TANet(), ())])
def test_every_weight_is_trained(parts: tuple[Any, Any]) -> None:
    model = compose("tiny_resnet", *parts, num_classes=3, num_frames=4, causal=True)
    randomize(model).train()
    F.cross_entropy(model(clips(3, 4, size=32)), torch.tensor([0, 1, 2])).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_set_num_frames_works_as_before() -> None:
    model = compose("tiny_resnet", TSM(), [DNR()], num_classes=3, causal=True).eval()
    model.set_num_frames(5)
    assert model(clips(1, 5, size=32)).shape == (1, 3)
    with pytest.raises(ValueError, match="has weights for 8 time steps"):
        compose("tiny_resnet", TANet(), causal=True).set_num_frames(4)


def test_the_shift_takes_one_eighth_from_the_frame_before() -> None:
    x = torch.arange(2 * 3 * 16.0).reshape(6, 16, 1, 1)  # two clips of three frames
    y = CausalShift(3)(x)
    moved = (y != x).flatten(1).any(0).nonzero().flatten().tolist()
    assert moved == [2, 3]
    assert y[:, 2, 0, 0].tolist() == [0, 2, 18, 0, 50, 66]
    few = torch.randn(3, 7, 2, 2)
    assert torch.equal(CausalShift(3)(few), few)


def test_memory_format_is_kept() -> None:
    x = torch.randn(6, 16, 4, 4).to(memory_format=torch.channels_last)
    assert CausalShift(3)(x).is_contiguous(memory_format=torch.channels_last)


def test_extensions_are_the_layers_themselves_at_a_clips_last_frame() -> None:
    x = clips(2, 5, size=6, channels=16).transpose(1, 2).flatten(0, 1).relu()
    last = slice(4, None, 5)
    adaptive = TemporalAdaptive(16, 5).eval()
    randomize(adaptive)
    arc = ArcConv2d.from_layer(torch.nn.Conv2d(16, 12, 3, stride=2, padding=1), 5, ARC(num_steps=2))
    randomize(arc)
    with torch.no_grad():
        for layer, kind in ((adaptive, CausalTemporalAdaptive), (arc, CausalArcConv2d)):
            got, plain = adopt(kind, layer)(x), layer(x)
            torch.testing.assert_close(got[last], plain[last], rtol=1e-4, atol=1e-5)
            assert (got - plain).abs().amax() > 1e-3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("msn_r18", "MSN compares each frame with the one after"),
        ("tdn_r18", "TDN compares"),
        ("tea_r50", "TEA compares|looks at the frame after"),
        ("trn_r18", "relates a fixed number of frames"),
        ("slowonly_r50", "3-D model"),
        ("arc_tsm_r18", r"nearest causal form takes it over the frames so far.*nearest=True"),
        ("tanet_r18", "nearest=True"),
    ],
)
def test_parts_without_a_causal_form_are_refused(name: str, message: str) -> None:
    model = create_model(name, num_classes=2)
    with pytest.raises(ValueError, match=message):
        model.streaming()


@pytest.mark.parametrize(
    ("temporal", "augmenter", "message"),
    [
        (TSN(), DNR(bidirectional=True), "bidirectional=False"),
        (TSN(), ARC(attention_layer="gru"), "attention_layer='fc'"),
        (MSN(stage=1), ARC(), r"^MSN\+ARC on tiny_resnet cannot be causal: MSN compares"),
    ],
)
def test_options_without_a_causal_form_are_refused(temporal: Any, augmenter: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose("tiny_resnet", temporal, [augmenter], causal=True)


@pytest.mark.parametrize("arc", [ARC(aggregation="S"), ARC(attention=False)])
def test_arc_that_pools_no_time_is_causal_as_it_is(arc: ARC) -> None:
    model = randomize(compose("tiny_resnet", TSN(), [arc], num_classes=3, num_frames=4)).eval()
    x = clips(2, 4, size=32)
    with torch.no_grad():
        torch.testing.assert_close(causal_form(model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_an_ensemble_is_refused() -> None:
    with pytest.raises(ValueError, match="one of its members"):
        create_model("arc_tsm_r50_8f16f", num_classes=2).streaming()
