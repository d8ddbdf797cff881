"""Tests of MSN, TANet, TDN, TEA and TRN against loops over frames and positions in float64."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from helpers import randomize_norms
from torch import Tensor

from videozoo.layers import (
    MotionExcitation,
    MotionSqueeze,
    TemporalAdaptive,
    TemporalConv,
    TemporalDifference,
    TemporalRelation,
)
from videozoo.layers.correlation import displacements, local_correlation
from videozoo.layers.frame_tuples import draw_tuples, tuples_of_ranks
from videozoo.layers.temporal_conv import temporal_conv

S = 4


def folded(channels: int, batch: int = 2, size: tuple[int, int] = (6, 5)) -> Tensor:
    return torch.randn(batch * S, channels, *size, dtype=torch.float64)


@pytest.mark.parametrize("size", [(6, 5), (3, 9), (1, 1)])
def test_local_correlation_is_a_sum_over_channels_at_each_displacement(size: tuple[int, int]) -> None:
    reach = 2
    a, b = (torch.randn(3, 4, *size, dtype=torch.float64) for _ in range(2))
    out = local_correlation(a, b, reach)
    height, width = size
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            for y in range(height):
                for x in range(width):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    want = (a[:, :, y, x] * b[:, :, y + dy, x + dx]).sum(1) if inside else torch.zeros(3).double()
                    torch.testing.assert_close(out[:, dy + reach, dx + reach, y, x], want)


def test_displacement_of_a_moved_picture() -> None:
    features = torch.nn.functional.normalize(torch.randn(1, 32, 12, 12, dtype=torch.float64), dim=1)
    moved = features.roll((2, -1), dims=(2, 3))  # two down, one to the left
    flow = displacements(local_correlation(features, moved, 3))
    inner = flow[0, :, 4:-4, 4:-4]
    torch.testing.assert_close(inner[0], torch.full_like(inner[0], -1 / 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(inner[1], torch.full_like(inner[1], 2 / 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(inner[2], torch.ones_like(inner[2]))


def test_the_last_frame_takes_the_motion_before_it() -> None:
    module = randomize_norms(MotionSqueeze(8, S, reach=2).double()).eval()
    motion = module.motion(folded(8)).unflatten(0, (-1, S))
    assert torch.equal(motion[:, -1], motion[:, -2])
    with pytest.raises(ValueError, match="two frames"):
        MotionSqueeze(8, 1)(folded(8).float())


def slow_conv(x: Tensor, kernel: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for s in range(x.shape[1]):
        for tap, other in enumerate((s - 1, s, s + 1)):
            if 0 <= other < x.shape[1]:
                out[:, s] += kernel[:, :, tap, None, None] * x[:, other]
    return out


def test_temporal_conv() -> None:
    x = folded(6).unflatten(0, (-1, S))
    for rows in (1, 2):
        kernel = torch.randn(rows, 6, 3, dtype=torch.float64)
        torch.testing.assert_close(temporal_conv(x, kernel), slow_conv(x, kernel))
    one = x[:, :1]
    torch.testing.assert_close(temporal_conv(one, kernel), slow_conv(one, kernel))


def test_a_fresh_temporal_conv_is_a_shift() -> None:
    from videozoo.layers import TemporalShift

    x = folded(16)
    assert torch.equal(TemporalConv(16, S).double()(x), TemporalShift(S)(x))
    assert torch.equal(TemporalConv(16, S, shift_div=None).double()(x), x)


def test_temporal_adaptive() -> None:
    module = randomize_norms(TemporalAdaptive(8, S).double()).eval()
    x = folded(8)
    out = []
    for clip in x.split(S):
        theta = torch.stack([frame.mean((1, 2)) for frame in clip], 1)  # (C, S)
        kernel = torch.stack([module.kernel(row[None])[0] for row in theta])
        local = module.local(theta[None])[0]  # (C, S)
        scaled = torch.stack([clip[s] * local[:, s, None, None] for s in range(S)])
        out.append(slow_conv(scaled[None], kernel[None])[0])
    torch.testing.assert_close(module(x), torch.cat(out))


@pytest.mark.parametrize("make", [TemporalDifference, MotionExcitation])
def test_differences_use_neighbors_only(make: type) -> None:
    module = randomize_norms(make(16, S).double()).eval()
    x = folded(16, batch=1)
    y = module(x)
    changed = x.clone()
    changed[3] += 1
    moved = (module(changed) - y).abs().amax((1, 2, 3)) > 1e-12
    assert moved[2] and moved[3] and not moved[0] and not moved[1]  # noqa: PT018


def test_motion_excitation_frame_by_frame() -> None:
    module = randomize_norms(MotionExcitation(16, S).double()).eval()
    x = folded(16)
    out = []
    for clip in x.split(S):
        now = module.squeeze_norm(module.squeeze(clip))
        for s in range(S):
            step = module.map(now[s + 1 : s + 2]) - now[s : s + 1] if s + 1 < S else torch.zeros_like(now[:1])
            gate = torch.sigmoid(module.expand_norm(module.expand(step.mean((2, 3), keepdim=True)))) - 0.5
            out.append(clip[s : s + 1] * (1 + gate))
    torch.testing.assert_close(module(x), torch.cat(out))


def test_relation_head_tests_the_same_tuples_every_time() -> None:
    head = TemporalRelation(6, S, 3).double().eval()
    x = torch.randn(2, S, 6, dtype=torch.float64)
    assert torch.equal(head(x), head(x))
    assert not torch.allclose(head(x), head(x.flip(1)))
    projected = head.project(x)
    want = head.scales[0](projected.flatten(1))
    for net, size in zip(list(head.scales)[1:], (3, 2), strict=True):
        assert len(set(head._tested[size])) == 3
        for frames in head._tested[size]:
            want += net(projected[:, list(frames)].flatten(1))
    torch.testing.assert_close(head(x), want)


def test_relation_head_uses_the_tuples_of_the_authors_with_seed_0() -> None:
    head = TemporalRelation(6, 8, 3).eval()
    assert head._tested[7] == [(0, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 6, 7), (0, 1, 2, 3, 4, 5, 7)]
    assert head._tested[3] == [(3, 5, 6), (4, 5, 6), (0, 1, 7)]
    assert head._tested[2] == [(6, 7), (1, 4), (2, 3)]


@pytest.mark.parametrize("num_frames", [3, 5, 8])
def test_tuples_by_number_are_those_of_itertools(num_frames: int) -> None:
    for size in range(2, num_frames):
        every = list(combinations(range(num_frames), size))
        ranks = torch.arange(len(every)).expand(num_frames - 2, -1)
        assert [tuple(row) for row in tuples_of_ranks(ranks, num_frames)[size].tolist()] == every


@pytest.mark.parametrize("num_frames", [3, 4, 32, 64])
def test_training_draws_three_different_tuples_of_every_length(num_frames: int) -> None:
    drawn = draw_tuples(num_frames, torch.device("cpu"))
    assert list(drawn) == list(range(num_frames - 1, 1, -1))
    for size, rows in drawn.items():
        assert rows.shape == (3, size)
        assert len(set(map(tuple, rows.tolist()))) == 3
        assert (rows.diff(dim=1) > 0).all()
        assert (rows >= 0).all()
        assert (rows < num_frames).all()


def test_training_draws_every_tuple_equally_often() -> None:
    counts = Counter(tuple(row) for _ in range(1000) for row in draw_tuples(5, torch.device("cpu"))[3].tolist())
    assert len(counts) == 10
    assert all(abs(count - 300) < 75 for count in counts.values())  # five deviations


def test_relation_head_of_32_frames_tests_and_trains() -> None:
    head = TemporalRelation(4, 32, 3, hidden=4, bottleneck=4)
    x = torch.randn(2, 32, 4)
    torch.manual_seed(1)
    y = head(x)
    y.sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    assert not torch.equal(head(x), y)
    torch.manual_seed(1)
    assert torch.equal(head(x), y)
    other = TemporalRelation(4, 32, 3, hidden=4, bottleneck=4)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.eval()(x), other.eval()(x))


def test_relation_head_refuses_lengths_that_it_cannot_relate() -> None:
    for num_segments in (1, 65):
        with pytest.raises(ValueError, match=rf"a clip of {num_segments} frames.* at least 2 .* at most 64"):
            TemporalRelation(6, num_segments, 3)
