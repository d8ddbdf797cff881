"""Tests of attention roll-out: the products by hand, which models have it, and its picture."""

import re
from pathlib import Path

import pytest
import small_backbones as small_backbones
import torch
from helpers import clips, randomize

import videozoo
from videozoo.cli import main
from videozoo.data.motions import write_motions
from videozoo.explain import attention_rollout
from videozoo.hub.write import save_weights
from videozoo.models import model_config
from videozoo.text import json_text

NAMES = {"small_videomae": 4, "small_vivit": 4, "small_timesformer_joint": 2, "small_timesformer_space": 2}


@pytest.mark.parametrize("backbone", NAMES)
def test_shares_are_those_of_the_products_by_hand(backbone: str) -> None:
    frames = NAMES[backbone]
    model = randomize(videozoo.compose(backbone, num_classes=3, num_frames=frames, img_size=40)).eval()
    x = clips(2, frames, 40)
    found = attention_rollout(model, x)
    net = model.backbone
    with torch.no_grad():
        tokens, rolled = net._embed(x), None
        for block in net.blocks:
            attn, normed = block.attn, block.norm1(tokens)
            bias = attn.qkv.bias if attn.qkv.bias is not None else torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
            qkv = torch.nn.functional.linear(normed, attn.qkv.weight, bias)
            q, k, _ = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
            mean = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(3).mean(1)
            step = 0.5 * mean + 0.5 * torch.eye(mean.shape[1])
            rolled = step if rolled is None else step @ rolled
            tokens = block(tokens)
    prefix = net.num_prefix_tokens
    row = (rolled[:, 0] if prefix else rolled.mean(1))[:, prefix:]
    expected = row.reshape(2, -1, 5, 5)
    low, high = (extreme((1, 2, 3), keepdim=True) for extreme in (expected.amin, expected.amax))
    expected = (expected - low) / (high - low)
    steps = expected.shape[1]
    torch.testing.assert_close(found.maps[:, :: frames // steps], expected, atol=1e-4, rtol=1e-4)
    assert (found.maps.amin(), found.maps.amax(), found.frames) == (0, 1, tuple(range(frames)))
    torch.testing.assert_close(found.logits, model(x).detach(), atol=1e-4, rtol=1e-4)
    assert bool((found.peaks > 1).all())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timesformer_b", "TimeSformer has no blocks with one"),
        ("tsm_r18", "ResNet has no blocks with one attention"),
        ("hiera_b", "Hiera has no blocks with one attention"),
        ("vjepa2_l", "VJepa pools its tokens by attention of its own"),
    ],
)
def test_other_models_are_refused(name: str, message: str) -> None:
    with torch.device("meta"):
        model = videozoo.create_model(name, num_classes=2)
    with pytest.raises(ValueError, match=f"attention_rollout: {re.escape(message)}.*take grad_cam"):
        attention_rollout(model, clips(1, 8, 32))


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next(write_motions(tmp_path / "videos", clips_per_class=1, size=48, num_frames=8).rglob("*.mp4"))
    model = videozoo.compose("videomae_vit_small", num_classes=3, num_frames=4, img_size=48)
    (tmp_path / "net").mkdir()
    save_weights(model.state_dict(), tmp_path / "net")
    (tmp_path / "net" / "config.json").write_text(json_text(model_config(model)))
    argv = ["explain", str(file), "--output", str(tmp_path / "out"), "--show", "rollout", "--model"]
    assert main([*argv, str(tmp_path / "net")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"rollout.{end}" for end in ("png", "mp4", "gif")}
    assert main([*argv, "test_arc_tsm.motions"]) == 2
    assert "attention_rollout: ResNet has no blocks" in capsys.readouterr().err
    assert main([*argv, str(tmp_path / "net"), "--class", "1"]) == 2
    assert "--class is about class maps" in capsys.readouterr().err
