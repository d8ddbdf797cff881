"""Tests of V-JEPA 2: equal to transformers' model, its files, other clips, refusals."""

import re
from typing import Any

import pytest
import torch
from helpers import clips
from torch import nn

import videozoo
from videozoo import ARC, DNR, TSM
from videozoo.hub.convert.base import ConvertError
from videozoo.hub.convert.checkpoint import convert_checkpoint
from videozoo.nets import VJepa
from videozoo.nets.tokens import VitCfg

SIZES = {"num_hidden_layers": 2, "pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}


def with_numbers(net: nn.Module) -> Any:
    """The model with large enough weights that every part acts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            scale = 0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return net.eval()


@pytest.fixture
def theirs() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.VJEPA2Config(
        crop_size=64, frames_per_clip=8, hidden_size=48, num_attention_heads=3, num_labels=5, **SIZES
    )
    return with_numbers(transformers.VJEPA2ForVideoClassification(config))


def test_logits_are_those_of_transformers(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConvertError, match=r"V-JEPA 2 of 2 blocks on tubelets \(48, .*\) and 3 of its pooler; known is"
    ):
        convert_checkpoint(theirs.state_dict())
    monkeypatch.setattr("videozoo.hub.convert.vjepa_hf.KNOWN", ((48, 3, 2, 16, 16), (2, 3)))
    converted, source = convert_checkpoint(theirs.state_dict())
    assert (source, converted.spec["num_classes"]) == ("transformers", 5)
    assert all(key.startswith("vjepa2.predictor.") for key in converted.dropped)
    ours = VJepa(VitCfg(48, depth=2, num_heads=3), num_classes=5).eval()
    ours.load_state_dict({key.removeprefix("backbone."): value for key, value in converted.state.items()})
    x = clips(2, 8, 64)
    with torch.no_grad():
        expected = theirs(x.transpose(1, 2)).logits
        torch.testing.assert_close(ours(x), expected)
        for block in ours.blocks:
            block.attn.fused_attn = False  # as where attention is rolled out
        torch.testing.assert_close(ours(x), expected)
        assert expected.std() > 0.1
        final, maps = ours.forward_intermediates(x, norm=True)
        torch.testing.assert_close(ours.tokens_to_maps(final, (8, 64, 64)), maps[-1])


def test_places_turn_the_tokens() -> None:
    """The same patch everywhere: without positions no token differs from the next."""
    net = with_numbers(VJepa(VitCfg(48, depth=2, num_heads=3)))
    x = clips(1, 2, 16).repeat(1, 1, 2, 2, 3)
    with torch.no_grad():
        tokens = net.forward_features(x)
    assert tokens.shape == (1, 2 * 2 * 3, 48)
    torch.testing.assert_close(tokens, tokens[:, :1].expand_as(tokens))  # all values are the same one
    x[..., :16] = 0
    with torch.no_grad():
        maps = net.tokens_to_maps(net.forward_features(x), (4, 32, 48))
    assert (maps[0, :, 0, 0, 1] - maps[0, :, 0, 0, 2]).abs().max() > 1e-3  # alike, but not as far from the others


def test_parameters_are_those_of_transformers_without_its_predictor() -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        theirs = transformers.VJEPA2ForVideoClassification(transformers.VJEPA2Config(num_labels=174))
        ours = videozoo.create_model("vjepa2_l", num_classes=174)
    converted, _ = convert_checkpoint(theirs.state_dict())
    shapes = {key: value.shape for key, value in ours.state_dict().items()}
    assert {key: value.shape for key, value in converted.state.items()} == shapes
    assert {key: converted.spec[key] for key in ("backbone", "num_classes")} == {
        "backbone": "vjepa2_vit_large",
        "num_classes": 174,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmenters": [ARC()]}, "ARC: nothing to change in"),
        ({"augmenters": [DNR()]}, "DNR: nothing to change in"),
        ({"temporal": TSM()}, "mixes time itself; TSM is for 2-D backbones"),
        ({"num_frames": 7}, "num_frames is 7; need a positive multiple of 2"),
    ],
)
def test_refusals_give_the_reason(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=re.escape(message)):
        videozoo.compose("vjepa2_vit_large", **options)
