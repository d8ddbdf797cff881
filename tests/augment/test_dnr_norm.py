"""Tests of one dynamic norm against equations 1 to 7 in float64."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import randomize
from reference_dnr import State, apply_pairs, cross_temporal, standardize, step, under, zero_state
from timm.layers import BatchNormAct2d, GroupNormAct
from torch import Tensor, nn

from videozoo.augment import CrossLayerNorm2d, CrossTemporalNorm2d
from videozoo.layers import RelayCell
from videozoo.layers.relay_cell import RELAYS

C, B = 8, 2


def ct_norm(norm: nn.Module, frames: int, group: int | None, **kwargs: Any) -> CrossTemporalNorm2d:
    """A cross-temporal norm in float64 with random statistics and cell."""
    relay = kwargs.pop("relay", "lstm")
    return randomize(CrossTemporalNorm2d(norm, frames, RelayCell(C, relay=relay), group, **kwargs).double(), 0.4).eval()  # type: ignore[return-value]


def frames_of(count: int, size: tuple[int, int] = (3, 4)) -> Tensor:
    """Folded maps whose channels and frames differ in mean."""
    x = torch.randn(B * count, C, *size, dtype=torch.float64)
    return x + torch.randn(B * count, C, 1, 1, dtype=torch.float64)


def cell_params(norm: nn.Module, name: str = "cell") -> dict[str, Tensor]:
    """Parameters of the norm's cell by name."""
    return under(dict(norm.named_parameters()), name)


def assert_equal_with_gradients(norm: nn.Module, x: Tensor, slow: Any) -> None:
    """``norm(x)`` and ``slow(x)`` agree, and so do their gradients for x and for every parameter."""
    x = x.requires_grad_()
    out, expected = norm(x), slow(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-11)
    up = torch.randn_like(out)
    over = [x, *norm.parameters()]
    got = torch.autograd.grad(out, over, up, allow_unused=True)
    for a, b in zip(got, torch.autograd.grad(expected, over, up, allow_unused=True), strict=True):
        if a is None or b is None:  # the slow one may leave out what is zero
            assert not any(g is not None and g.any() for g in (a, b))
        else:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize(("frames", "group"), [(8, 4), (8, 2), (8, 1), (8, 8), (8, 3), (5, 4), (3, 4), (1, 4), (7, 2)])
def test_cross_temporal_equals_the_loop(relay: str, frames: int, group: int) -> None:
    """Whole groups, a shorter last group, one group, fewer frames than a group."""
    norm = ct_norm(nn.BatchNorm2d(C), frames, group, relay=relay)

    def slow(x: Tensor) -> Tensor:
        pairs = cross_temporal(x, cell_params(norm), frames, group, relay)
        return apply_pairs(standardize(x, norm.running_mean, norm.running_var, norm.eps), pairs)

    assert_equal_with_gradients(norm, frames_of(frames), slow)


def test_no_group_length_means_the_whole_clip() -> None:
    norm = ct_norm(nn.BatchNorm2d(C), 6, None)
    x = frames_of(6)
    expected = apply_pairs(
        standardize(x, norm.running_mean, norm.running_var, norm.eps), cross_temporal(x, cell_params(norm), 6, 6)
    )
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("frames", "group"), [(8, 4), (8, 3), (4, 4)])
def test_bidirectional_is_the_mean_of_both_directions(frames: int, group: int) -> None:
    norm = ct_norm(nn.BatchNorm2d(C), frames, group, backward_cell=RelayCell(C))

    def backward_pairs(x: Tensor) -> list[State]:
        """The relay from the last group to the first, with the groups of the forward direction."""
        pairs: list[State] = []
        for clip in x.split(frames):
            rows = [list(range(frames))[i : i + group] for i in range(0, frames, group)]
            state, of_frame = zero_state(C), {}
            for group_rows in reversed(rows):
                state = step(cell_params(norm, "backward_cell"), clip[group_rows].mean((0, 2, 3)), state, "lstm")
                of_frame |= dict.fromkeys(group_rows, state)
            pairs += [of_frame[t] for t in range(frames)]
        return pairs

    def slow(x: Tensor) -> Tensor:
        both = zip(cross_temporal(x, cell_params(norm), frames, group), backward_pairs(x), strict=True)
        pairs = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in both]
        return apply_pairs(standardize(x, norm.running_mean, norm.running_var, norm.eps), pairs)

    assert_equal_with_gradients(norm, frames_of(frames), slow)


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_training_uses_and_keeps_statistics_like_a_batch_norm(momentum: float) -> None:
    plain = randomize(nn.BatchNorm2d(C, momentum=momentum, affine=False).double())
    norm = ct_norm(nn.BatchNorm2d(C, momentum=momentum), 6, 4).train()
    for name in ("running_mean", "running_var"):
        getattr(norm, name).copy_(getattr(plain, name))

    def slow(x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        return apply_pairs(standardize(x, mean, var, norm.eps), cross_temporal(x, cell_params(norm), 6, 4))

    for step_number in (1, 2):
        x = frames_of(6)
        plain(x)
        assert_equal_with_gradients(norm, x, slow)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(getattr(norm, name), getattr(plain, name), rtol=0, atol=1e-14)
        assert norm.num_batches_tracked == step_number


def test_evaluation_changes_no_buffer() -> None:
    norm = ct_norm(nn.BatchNorm2d(C), 4, 2)
    before = {k: v.clone() for k, v in norm.named_buffers()}
    norm(frames_of(4))
    assert all(torch.equal(v, before[k]) for k, v in norm.named_buffers())


@pytest.mark.parametrize("source", [nn.GroupNorm(4, C), nn.BatchNorm2d(C)])
@pytest.mark.parametrize("training", [True, False])
def test_group_norm_standardizes_each_frame_by_groups_of_channels(source: nn.Module, training: bool) -> None:
    norm = ct_norm(source, 6, 4, kind="gn").train(training)
    groups = 4 if isinstance(source, nn.GroupNorm) else 8  # 32 groups, or the largest divisor of both
    assert not list(norm.buffers())

    def slow(x: Tensor) -> Tensor:
        frames = []
        for frame in x:
            parts = [(p - p.mean()) / torch.sqrt(p.var(correction=0) + norm.eps) for p in frame.chunk(groups)]
            frames.append(torch.cat(parts))
        return apply_pairs(torch.stack(frames), cross_temporal(x, cell_params(norm), 6, 4))

    assert_equal_with_gradients(norm, frames_of(6), slow)


def test_a_group_norm_can_become_a_batch_norm_with_fresh_statistics() -> None:
    norm = CrossTemporalNorm2d(nn.GroupNorm(4, C), 4, RelayCell(C), 2, kind="bn")
    fresh = nn.BatchNorm2d(C, affine=False)
    assert set(dict(norm.named_buffers())) == set(dict(fresh.named_buffers()))
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), fresh.buffers(), strict=True))


@pytest.mark.parametrize("source", [nn.BatchNorm2d(C), nn.GroupNorm(4, C)])
@pytest.mark.parametrize("training", [True, False])
def test_keep_affine_starts_as_the_norm_that_it_replaces(source: nn.Module, training: bool) -> None:
    source = randomize(source.double()).train(training)
    norm = CrossTemporalNorm2d(source, 6, RelayCell(C).double(), 4, keep_affine=True).train(training)
    x = frames_of(6)
    stored = {k: v.clone() for k, v in source.named_buffers()}
    expected = source(x)
    for name, buffer in stored.items():  # the two share their statistics
        getattr(norm, name).copy_(buffer)
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-13)


def test_keep_affine_equals_its_formula() -> None:
    norm = ct_norm(randomize(nn.BatchNorm2d(C)), 6, 4, keep_affine=True)

    def slow(x: Tensor) -> Tensor:
        pairs = [
            (norm.weight * (1 + norm.h_scale * h), norm.bias + norm.c_scale * c)
            for h, c in cross_temporal(x, cell_params(norm), 6, 4)
        ]
        return apply_pairs(standardize(x, norm.running_mean, norm.running_var, norm.eps), pairs)

    assert_equal_with_gradients(norm, frames_of(6), slow)


@pytest.mark.parametrize("relay", RELAYS)
def test_cross_layer_hands_its_pair_on(relay: str) -> None:
    """Three norms of one relay, each fed with the pair of the one before."""
    cell = randomize(RelayCell(C, relay=relay).double(), 0.4)
    norms = [randomize(CrossLayerNorm2d(nn.BatchNorm2d(C), 4).double()).eval() for _ in range(3)]
    params = dict(cell.named_parameters())
    state, slow_states = None, [zero_state(C)] * B
    for norm in norms:
        x = frames_of(4)
        y, state = norm(x, state, cell)
        slow_states = [
            step(params, clip.mean((0, 2, 3)), before, relay)
            for clip, before in zip(x.split(4), slow_states, strict=True)
        ]
        pairs = [pair for pair in slow_states for _ in range(4)]
        expected = apply_pairs(standardize(x, norm.running_mean, norm.running_var, norm.eps), pairs)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU])
def test_a_fused_activation_is_kept(act: type[nn.Module]) -> None:
    for source in (BatchNormAct2d(C, act_layer=act), GroupNormAct(C, num_groups=4, act_layer=act)):
        randomize(source)
        norm = CrossTemporalNorm2d(source, 4, RelayCell(C), 2, keep_affine=True).eval()
        x = frames_of(4).float()
        torch.testing.assert_close(norm(x), source.eval()(x), rtol=1e-5, atol=1e-6)
    bare = CrossTemporalNorm2d(nn.BatchNorm2d(C), 4, RelayCell(C), 2)
    assert (bare.eval()(x) < 0).any()


def test_statistics_momentum_and_eps_are_taken_over() -> None:
    source = randomize(nn.BatchNorm2d(C, eps=0.01, momentum=0.3))
    norm = CrossTemporalNorm2d(source, 4, RelayCell(C), 2)
    assert norm.running_mean is source.running_mean
    assert norm.running_var is source.running_var
    assert (norm.eps, norm.momentum) == (0.01, 0.3)
    assert set(norm.state_dict()) - {k for k in norm.state_dict() if k.startswith("cell.")} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_stays_near_the_loop(dtype: torch.dtype) -> None:
    norm = ct_norm(nn.BatchNorm2d(C), 6, 4)
    x = frames_of(6)
    expected = norm(x)
    low = norm.to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    assert (low.double() - expected).abs().max() < (0.02 if dtype == torch.float16 else 0.15) * expected.abs().max()


class _Other(nn.BatchNorm2d):
    pass


@pytest.mark.parametrize(
    ("norm", "kwargs", "message"),
    [
        (_Other(C), {}, "cannot replace a _Other"),
        (nn.InstanceNorm2d(C), {}, "cannot replace a InstanceNorm2d"),
        (nn.BatchNorm2d(C, momentum=None), {}, "momentum=None"),
        (nn.BatchNorm2d(C, track_running_stats=False), {}, "without running statistics"),
        (nn.BatchNorm2d(C, affine=False), {"keep_affine": True}, "no affine pair"),
    ],
)
def test_norms_that_cannot_be_replaced_are_refused(norm: nn.Module, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"DNR: .*{message}"):
        CrossTemporalNorm2d(norm, 4, RelayCell(C), 2, **kwargs)


def test_a_wrong_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="num_segments=4"):
        ct_norm(nn.BatchNorm2d(C), 4, 2)(torch.randn(6, C, 2, 2).double())


def test_group_norm_of_torch_equals_the_loop() -> None:
    """The loop over groups of channels is checked itself."""
    frame = torch.randn(1, C, 3, 3)
    parts = [(p - p.mean()) / torch.sqrt(p.var(correction=0) + 1e-5) for p in frame[0].chunk(4)]
    torch.testing.assert_close(torch.cat(parts)[None], F.group_norm(frame, 4))
