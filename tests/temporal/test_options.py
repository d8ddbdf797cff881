"""Tests of the options of temporal modules."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import clips, randomize, small_video_net

from videozoo.models import ModelSpec
from videozoo.temporal import MSN, TDN, TRN, TSM


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TSM(shift_div=1), "shift_div is 1; need a whole number, 2 or more"),
        (lambda: TSM(shift_div=8.5), "shift_div is 8.5; need a whole number"),  # type: ignore[arg-type]
        (lambda: TSM(shift_div="8"), "shift_div is '8'; need a whole number"),  # type: ignore[arg-type]
        (lambda: TSM(shift_div=True), "shift_div is True"),
        (lambda: MSN(shift_div=0), "shift_div is 0"),
        (lambda: MSN(reach=0), "MSN: reach is 0; need a whole number, 1 or more"),
        (lambda: MSN(reach=-1), "MSN: reach is -1"),
        (lambda: MSN(reach=1.5), "MSN: reach is 1.5"),  # type: ignore[arg-type]
        (lambda: MSN(stage=0), "MSN: stage is 0"),
        (lambda: TRN(hidden=0), "TRN: hidden is 0"),
        (lambda: TRN(hidden=2.0), "TRN: hidden is 2.0"),  # type: ignore[arg-type]
        (lambda: TDN(main_weight=5.0), "TDN: main_weight is 5.0; need a share from 0 to 1, or None"),
        (lambda: TDN(main_weight=-0.1), "TDN: main_weight is -0.1"),
        (lambda: TDN(main_weight=float("nan")), "TDN: main_weight is nan"),
        (lambda: TDN(main_weight="0.5"), "TDN: main_weight is '0.5'"),  # type: ignore[arg-type]
    ],
)
def test_values_without_sense_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_stored_spec_is_checked_too() -> None:
    spec = ModelSpec("resnet18", MSN()).to_dict()
    spec["temporal"]["reach"] = 0
    with pytest.raises(ValueError, match="MSN: reach is 0"):
        ModelSpec.from_dict(json.loads(json.dumps(spec)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TSM(), TSM(shift_div=4)),
        (MSN(), MSN(shift_div=4)),
        (MSN(), MSN(reach=2)),
        (MSN(), MSN(stage=1)),
        (TDN(), TDN(main_weight=0.6)),
        (TRN(), TRN(hidden=8)),
    ],
)
def test_every_option_changes_the_answer(one: Any, other: Any) -> None:
    answers = []
    for temporal in (one, other):
        torch.manual_seed(0)
        net = randomize(small_video_net(temporal)).eval()
        with torch.no_grad():
            answers.append(net(clips(1, net.num_frames, 32)))  # type: ignore[attr-defined]
    assert not torch.allclose(*answers, rtol=1e-4)


def test_weight_of_tdn_follows_the_number_of_segments() -> None:
    net: Any = small_video_net(TDN(), num_segments=3)
    weights = []
    for segments in (8, 16, 8):
        net.set_num_frames(5 * segments)
        weights.append(net.backbone.main_weight)
    assert weights == [0.5, 0.75, 0.5]
    given: Any = small_video_net(TDN(main_weight=0.6), num_segments=3)
    given.set_num_frames(40)
    assert given.backbone.main_weight == 0.6


def test_intermediate_maps_of_tdn_stop_early() -> None:
    net = randomize(small_video_net(TDN())).eval()
    x = clips(1, 15, 32)
    with torch.no_grad():
        final, maps = net.forward_intermediates(x)  # type: ignore[operator]
        for last in range(5):
            early, some = net.forward_intermediates(x, indices=[last], stop_early=True)  # type: ignore[operator]
            assert torch.equal(early, maps[last])
            assert torch.equal(some[0], maps[last])
            late, some = net.forward_intermediates(x, indices=[last])  # type: ignore[operator]
            assert torch.equal(late, final)
        with pytest.raises(ValueError, match="output_fmt is 'NLC'; only 'NCHW'"):
            net.forward_intermediates(x, output_fmt="NLC")  # type: ignore[operator]


def test_motion_needs_two_frames() -> None:
    with pytest.raises(ValueError, match="one frame has no motion"):
        small_video_net(MSN(), num_segments=1)
    net: Any = small_video_net(MSN(), num_segments=2)
    with pytest.raises(ValueError, match=r"MotionSqueeze at layer2.motion needs 2 time steps or more, not 1"):
        net.set_num_frames(1)
