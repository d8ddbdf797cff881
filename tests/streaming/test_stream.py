"""Tests of streams against slow causal models, frame by frame."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import clips, randomize
from reference_causal import slow_logits
from torch import Tensor

from videozoo import ARC, DNR, TSM, TSN, VideoNet, compose
from videozoo.models.streaming import Stream
from videozoo.temporal import TANet

DEEP = (DNR(ct_group_frames=3), DNR(order="ct_cl", ct_group_frames=2, relay="se", linear_bias=True))
WINDOW, FRAMES = 4, 10  # a clip of the model, and a stream that is longer
CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "tsn": (TSN(), ()),
    "tsm": (TSM(), ()),
    "tsm_quarter": (TSM(shift_div=4), ()),
    "dnr_tsn": (TSN(), DEEP[:1]),
    "dnr_tsn_single_frames": (TSN(), (DNR(ct_group_frames=1, interlace=False),)),
    "dnr_tsm_turned": (TSM(), DEEP[1:]),
    "dnr_fc": (TSN(), (DNR(ct_group_frames=2, relay="fc", keep_affine=False),)),
}
EXTENSIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arc_tsm": (TSM(), (ARC(),)),
    "arc_tsn_gate": (TSN(), (ARC(interaction="multiplicative", aggregation="ST", num_steps=3),)),
    "arc_tsn_time": (TSN(), (ARC(aggregation="T", num_steps=2),)),
    "arc_tsn_space": (TSN(), (ARC(aggregation="S"),)),
    "tanet": (TANet(), ()),
    "arc_dnr_tsm": (TSM(), (ARC(), DNR(ct_group_frames=2))),
}


def make(temporal: Any, augmenters: tuple[Any, ...] = (), **options: Any) -> VideoNet:
    options = {"num_classes": 5, "num_frames": WINDOW, **options}
    # A relay over depth needs two blocks in a stage.
    backbone = "resnet18" if augmenters and augmenters[-1] in DEEP else "tiny_resnet"
    model = compose(backbone, temporal, augmenters, **options)
    return randomize(model, scale=0.1).double().eval()  # type: ignore[return-value]


def video(batch: int = 1, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return clips(batch, frames, size=32, seed=seed).double()


def run(stream: Stream, x: Tensor) -> Tensor:
    """Logits (B, T, K) after every frame."""
    return torch.stack([stream(frame) for frame in x.unbind(2)], 1)


@pytest.mark.parametrize("name", [*CASES, *EXTENSIONS])
def test_every_frame_equals_the_slow_causal_model(name: str) -> None:
    model = make(*{**CASES, **EXTENSIONS}[name])
    x = video()
    got = run(model.streaming(nearest=name in EXTENSIONS), x)[0]
    torch.testing.assert_close(got, slow_logits(model, x[0]), rtol=0, atol=1e-10)
    assert (got[1:] - got[:-1]).abs().amax(1).min() > 1e-6, "every frame must count"


@pytest.mark.parametrize("name", [*CASES, *EXTENSIONS])
def test_the_causal_model_on_clips_gives_the_same(name: str) -> None:
    from videozoo.models.causal import causal_form

    model = make(*{**CASES, **EXTENSIONS}[name])
    x = video(2, WINDOW)
    causal = causal_form(model, nearest=name in EXTENSIONS)
    streamed = run(model.streaming(nearest=name in EXTENSIONS, average=1), x)
    with torch.no_grad():
        maps = causal.forward_features(x)
        per_frame = causal.fc(causal.backbone.forward_head(maps.transpose(1, 2).flatten(0, 1), pre_logits=True))
        torch.testing.assert_close(streamed.flatten(0, 1), per_frame, rtol=0, atol=1e-10)
        final = run(model.streaming(nearest=name in EXTENSIONS), x)[:, -1]
        torch.testing.assert_close(causal(x), final, rtol=0, atol=1e-10)
        later = x.clone()
        later[:, :, -1] = 0
        torch.testing.assert_close(causal.forward_features(later)[:, :, :-1], maps[:, :, :-1], rtol=0, atol=0)


@pytest.mark.parametrize("name", [*CASES, *EXTENSIONS])
def test_several_frames_at_once_equal_one_after_the_other(name: str) -> None:
    model, x = make(*{**CASES, **EXTENSIONS}[name]), video(2)
    want = run(model.streaming(nearest=name in EXTENSIONS), x)
    stream = model.streaming(nearest=name in EXTENSIONS)
    for start, end in ((0, 3), (3, 4), (4, 9), (9, 10)):
        got = stream(x[:, :, start:end])
        torch.testing.assert_close(got, want[:, end - 1], rtol=0, atol=1e-10)


def test_with_single_precision_too() -> None:
    model = make(TSM(), (DNR(ct_group_frames=2),)).float()
    x = video().float()
    torch.testing.assert_close(run(model.streaming(), x)[0], slow_logits(model, x[0]), rtol=1e-4, atol=1e-5)


def test_the_average_is_over_the_given_number_of_frames() -> None:
    model, x = make(TSM()), video()
    got = run(model.streaming(average=2), x)[0]
    torch.testing.assert_close(got, slow_logits(model, x[0], average=2), rtol=0, atol=1e-10)
    own = run(model.streaming(average=1), x)[0]
    torch.testing.assert_close(got[1:], (own[1:] + own[:-1]) / 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["tsm", "dnr_fc", "arc_tsm", "tanet"])
def test_streams_of_a_batch_are_independent(name: str) -> None:
    model, x = make(*{**CASES, **EXTENSIONS}[name]), video(3)
    together = run(model.streaming(nearest=True), x)
    for row in range(3):
        alone = run(model.streaming(nearest=True), x[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["tsm", "dnr_fc", "arc_tsm", "tanet"])
def test_rows_restart_while_others_continue(name: str) -> None:
    model, x = make(*{**CASES, **EXTENSIONS}[name]), video(3)
    whole = run(model.streaming(nearest=True), x)
    stream = model.streaming(nearest=True)
    run(stream, x[:, :, :5])
    stream.reset([1])
    rest = run(stream, x[:, :, 5:])
    torch.testing.assert_close(rest[[0, 2]], whole[[0, 2], 5:], rtol=0, atol=1e-10)
    fresh = run(model.streaming(nearest=True), x[1:2, :, 5:])
    torch.testing.assert_close(rest[1:2], fresh, rtol=0, atol=1e-10)
    assert (rest[1] - whole[1, 5:]).abs().amax() > 1e-6
    stream.reset()
    assert stream.num_bytes == 0
    torch.testing.assert_close(run(stream, x[:1]), whole[:1], rtol=0, atol=1e-10)  # another number of streams


def test_memory_is_the_same_after_every_frame() -> None:
    model = make(TSM(), (ARC(), DNR(ct_group_frames=3)))
    stream, sizes = model.streaming(nearest=True), set()
    for frame in video(2, 9).unbind(2):
        stream(frame)
        sizes.add(stream.num_bytes)
    assert len(sizes) == 1
    assert sizes.pop() > 0


def test_the_model_is_stateless_and_shared_by_threads() -> None:
    model = make(TSM(), (DNR(ct_group_frames=2),))
    kinds = [type(module) for module in model.modules()]
    clip = video(1, WINDOW)
    with torch.no_grad():
        before = model(clip)
    inputs = [video(1, 30, seed=seed) for seed in (3, 4)]
    alone = [run(model.streaming(), x) for x in inputs]
    results: dict[int, Tensor] = {}
    start = threading.Barrier(2)

    def work(k: int) -> None:
        stream = model.streaming()
        start.wait()
        results[k] = run(stream, inputs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        torch.testing.assert_close(results[k], alone[k], rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), before, rtol=0, atol=0)
    assert [type(module) for module in model.modules()] == kinds
    assert not model.spec.causal


def test_weights_are_shared_with_the_model() -> None:
    model = make(TSM()).train()
    stream, frame = model.streaming(), video(1, 1)[:, :, 0]
    before = stream(frame)
    assert model.training
    with torch.no_grad():
        model.fc.bias += 1
    stream.reset()
    torch.testing.assert_close(stream(frame), before + 1, rtol=0, atol=1e-12)


def test_without_a_classifier_features_come_out() -> None:
    model = make(TSM(), num_classes=0)
    assert model.streaming()(video(2, 1)[:, :, 0]).shape == (2, model.head_hidden_size)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.streaming(average=0), "average is 0"),
        (lambda m: m.streaming()(torch.zeros(3, 32, 32)), "need one frame of each stream"),
        (lambda m: m.streaming()(torch.zeros(1, 1, 32, 32)), r"need one frame of each stream, \(B, 3, H, W\)"),
        (lambda m: m.streaming().reset([0]), "row 0 of 0 streams"),
    ],
)
def test_inputs_that_are_no_frame_are_refused(use: Callable[[VideoNet], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use(make(TSM()))


def test_another_kind_of_frame_needs_a_reset() -> None:
    stream = make(TSM()).streaming()
    stream(torch.zeros(2, 3, 32, 32).double())
    with pytest.raises(ValueError, match=r"after \(2, 3, 32, 32\).*call reset"):
        stream(torch.zeros(1, 3, 32, 32).double())
    with pytest.raises(ValueError, match="row 2 of 2 streams"):
        stream.reset([0, 2])
    stream.reset()
    assert stream(torch.zeros(1, 3, 48, 48).double()).shape == (1, 5)
