"""Tests of MVFNet's, ACTION-Net's, TIN's and TEINet's layers against the equations, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import randomize_norms
from torch import Tensor, nn

from videozoo.layers import ActionExcitation, MotionEnhancement, MultiViewFusion, TemporalInterlace

S, B = 5, 2


def folded(channels: int) -> Tensor:
    return torch.randn(B * S, channels, 6, 7, dtype=torch.float64)


def clips(x: Tensor) -> Tensor:
    return x.unflatten(0, (B, S)).transpose(1, 2)


def ready(layer: nn.Module) -> nn.Module:
    return randomize_norms(layer).double().eval()


def test_multi_view_fusion_is_a_sum_of_three_3d_convolutions() -> None:
    layer = ready(MultiViewFusion(24, S, part_div=4))
    x = folded(24)
    part = clips(x)[:, :6]
    time, height, width = layer.time.weight, layer.height.weight, layer.width.weight
    views = F.conv3d(part, time[..., None, None], padding=(1, 0, 0), groups=6)
    views = views + F.conv3d(part, height[:, :, None], padding=(0, 1, 0), groups=6)
    views = views + F.conv3d(part, width[:, :, None], padding=(0, 0, 1), groups=6)
    norm = layer.norm
    views = F.batch_norm(views, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mixed = views * (views + 3).clamp(0, 6) / 6
    want = torch.cat([mixed, clips(x)[:, 6:]], 1)
    torch.testing.assert_close(clips(layer(x)), want)


def test_multi_view_fusion_needs_a_channel() -> None:
    with pytest.raises(ValueError, match="part_div is 8; need at most the number of channels, 4"):
        MultiViewFusion(4, S)


def slow_interlace(layer: TemporalInterlace, x: Tensor) -> Tensor:
    """Two gathers per frame, as the authors write it."""
    out, group = x.unflatten(0, (B, S)).clone(), layer.group
    offsets, scales = layer.predict(x[:, : 4 * group])
    frames = x.unflatten(0, (B, S))
    for b in range(B):
        for g in range(4):
            where, offset = slice(g * group, (g + 1) * group), offsets[b, g].item()
            low = math.floor(offset)
            for s in range(S):
                value = torch.zeros_like(frames[b, s, where])
                for shift, weight in ((low, 1 - (offset - low)), (low + 1, offset - low)):
                    if 0 <= s - shift < S:
                        value = value + weight * frames[b, s - shift, where]
                out[b, s, where] = scales[b, s, g] * value
    return out.flatten(0, 1)


@pytest.mark.parametrize("spread", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("channels", [16, 38])  # 38: channels that form no group stay
def test_interlacing_moves_groups_by_fractions_of_frames(channels: int, spread: float) -> None:
    layer = ready(TemporalInterlace(channels, S))
    for parameter in layer.offset.parameters():
        nn.init.normal_(parameter, std=spread)
    x = folded(channels)
    torch.testing.assert_close(layer(x), slow_interlace(layer, x))


def test_interlacing_starts_with_half_a_frame_and_full_weight() -> None:
    layer = ready(TemporalInterlace(16, S))
    nn.init.zeros_(layer.offset[3].weight)
    nn.init.zeros_(layer.scale.weight)
    offsets, scales = layer.predict(folded(16)[:, :4])
    half = torch.tensor([0.5, 0.5, -0.5, -0.5], dtype=torch.float64)
    torch.testing.assert_close(offsets, half.expand(B, 4), rtol=0, atol=1e-4)
    torch.testing.assert_close(scales, torch.ones_like(scales))


def test_interlacing_refuses_narrow_maps() -> None:
    with pytest.raises(ValueError, match="12 channels and shift_div=4; need at least 16"):
        TemporalInterlace(12, S)


def test_action_excitation_is_the_sum_of_three_residual_gates() -> None:
    layer = ready(ActionExcitation(32, S))
    nn.init.normal_(layer.shift.weight)
    given = folded(32)
    x = F.conv3d(clips(given), layer.shift.weight[..., None, None], padding=(1, 0, 0), groups=32)
    space = torch.sigmoid(F.conv3d(x.mean(1, keepdim=True), layer.space.weight[:, None], padding=1))
    squeeze, conv, _, expand = layer.channel
    means = F.conv1d(x.mean((3, 4)), squeeze.weight)
    means = F.relu(F.conv1d(means, conv.weight, padding=1))
    channel = torch.sigmoid(F.conv1d(means, expand.weight))[..., None, None]
    now = layer.squeeze_norm(layer.squeeze(x.transpose(1, 2).flatten(0, 1)))
    later = layer.map(now).unflatten(0, (B, S))
    now = now.unflatten(0, (B, S))
    gates = []
    for s in range(S):
        d = later[:, s + 1] - now[:, s] if s + 1 < S else torch.zeros_like(now[:, s])
        gates.append(torch.sigmoid(layer.expand(d.mean((2, 3), keepdim=True))))
    motion = torch.stack(gates, 2)
    want = (x + x * space) + (x + x * channel) + (x + x * motion)
    torch.testing.assert_close(clips(layer(given)), want)


def test_motion_enhancement_compares_frame_means() -> None:
    layer = ready(MotionEnhancement(16, S))
    x = folded(16)
    frames = x.unflatten(0, (B, S))
    means = frames.mean((3, 4))
    first, second, expand = (getattr(layer, n).weight[..., 0] for n in ("squeeze", "squeeze_next", "expand"))
    for s in range(S):
        d = means[:, s] @ first.T - means[:, s + 1] @ second.T if s + 1 < S else means.new_zeros(B, 2)
        gate = torch.sigmoid(d @ expand.T + layer.expand.bias)
        torch.testing.assert_close(layer(x).unflatten(0, (B, S))[:, s], frames[:, s] * gate[..., None, None])
