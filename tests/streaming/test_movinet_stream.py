"""Tests of MoViNet's streams: frames or parts of a clip one after the other equal the whole clip."""

import pytest
import torch
from helpers import clips, randomize
from small_backbones import SMALL
from torch import Tensor, nn

from videozoo import ARC, DNR, TPN, VideoNet, compose
from videozoo.layers.causal import MeanSinceStart, PastFrames
from videozoo.models.causal import causal_form

FRAMES = 9


def make(frames: int = FRAMES, dtype: torch.dtype = torch.float64) -> VideoNet:
    model = compose(SMALL["movinet_a0_causal"], num_classes=5, num_frames=frames)
    return randomize(model, scale=0.5).to(dtype).eval()  # type: ignore[return-value]


def video(batch: int = 1, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return clips(batch, frames, size=32, seed=seed).double()


@pytest.mark.parametrize("parts", [(1,) * FRAMES, (4, 5), (1, 6, 2), (FRAMES,)])
def test_parts_of_a_clip_equal_the_clip(parts: tuple[int, ...]) -> None:
    model, x = make(), video(2)
    stream = model.streaming()
    for part in x.split(parts, 2):
        logits = stream(part)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(x), rtol=0, atol=1e-10)


def test_every_frame_equals_the_clip_up_to_it() -> None:
    model, x = make(), video()
    stream, last = model.streaming(), None
    for end in range(1, FRAMES + 1):
        logits = stream(x[:, :, end - 1])
        model.set_num_frames(end)
        with torch.no_grad():
            torch.testing.assert_close(logits, model(x[:, :, :end]), rtol=0, atol=1e-10)
        assert last is None or (logits - last).abs().max() > 1e-6
        last = logits


def test_single_precision() -> None:
    model, x = make(dtype=torch.float32), video().float()
    stream = model.streaming()
    for frame in x.unbind(2):
        logits = stream(frame)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(x), rtol=0, atol=1e-5)


def test_rows_restart_while_others_continue() -> None:
    model, x = make(), video(3)
    stream = model.streaming()
    stream(x[:, :, :5])
    stream.reset([1])
    rest = stream(x[:, :, 5:])
    fresh = model.streaming()(x[1:2, :, 5:])
    whole = model.streaming()(x)
    torch.testing.assert_close(rest[1:2], fresh, rtol=0, atol=1e-10)
    torch.testing.assert_close(rest[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-10)
    stream.reset()
    assert stream.num_bytes == 0


def test_the_model_keeps_nothing_and_memory_does_not_grow() -> None:
    model, x = make(), video()
    stream, sizes = model.streaming(), set()
    for frame in x.unbind(2):
        stream(frame)
        sizes.add(stream.num_bytes)
    assert len(sizes) == 1
    assert all(module.memory is None for module in model.modules() if isinstance(module, MeanSinceStart | PastFrames))
    assert model.num_frames == FRAMES


def test_past_frames_never_see_the_future() -> None:
    model, x = make(), video()
    later = x.clone()
    later[:, :, -1] = 0
    with torch.no_grad():
        maps, other = model.forward_features(x), model.forward_features(later)
    torch.testing.assert_close(maps[:, :, :-1], other[:, :, :-1], rtol=0, atol=0)
    assert (maps[:, :, -1] - other[:, :, -1]).abs().max() > 1e-6


def test_the_causal_form_is_the_model_itself() -> None:
    model, x = make(), video()
    causal = causal_form(model)
    assert causal.spec.causal
    with torch.no_grad():
        assert torch.equal(causal(x), model(x))
    own = compose(SMALL["movinet_a0_causal"], num_classes=5, num_frames=FRAMES, causal=True)
    assert set(own.state_dict()) == set(model.state_dict())


def test_refusals() -> None:
    with pytest.raises(ValueError, match="averages over all frames since the start by itself"):
        make().streaming(average=4)
    with pytest.raises(ValueError, match=r"^small_movinet cannot be causal: a 3-D model .* \(movinet_a0_stream"):
        compose(SMALL["movinet_a0_base"], num_classes=5).streaming()
    for part in (DNR(), ARC(layers=("pointwise",)), TPN()):
        with pytest.raises(ValueError, match="ARC, DNR and TPN have no causal form in a 3-D model"):
            compose(SMALL["movinet_a0_causal"], augmenters=[part], num_classes=5).streaming()


def test_mean_since_start_in_half_precision() -> None:
    x = torch.rand(1, 600, 2)
    got = MeanSinceStart()(x.bfloat16())
    want = x.cumsum(1) / torch.arange(1, 601)[None, :, None]
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).abs().max() < 0.01


def test_past_frames_are_zeros_at_the_start() -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    torch.testing.assert_close(PastFrames(2)(x), nn.functional.pad(x, (0, 0, 0, 0, 2, 0)))
