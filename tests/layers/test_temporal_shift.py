"""Tests of the temporal shift against a loop over frames."""

import pytest
import torch
from helpers import slow_shift

from videozoo.layers import TemporalShift


@pytest.mark.parametrize(("channels", "shift_div"), [(16, 8), (10, 4), (7, 3), (8, 2), (5, 8), (64, 8)])
@pytest.mark.parametrize("num_segments", [1, 2, 5])
def test_equals_the_loop(channels: int, shift_div: int, num_segments: int) -> None:
    x = torch.randn(3 * num_segments, channels, 2, 3, dtype=torch.float64)
    assert torch.equal(TemporalShift(num_segments, shift_div)(x), slow_shift(x, num_segments, shift_div))


def test_published_directions_and_zero_padding() -> None:
    """Of 8 channels of a clip 1, 2, 3: channel 0 sees the frame after, channel 1 the frame before."""
    x = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1).expand(3, 8, 1, 1)
    y = TemporalShift(3, 8)(x)[:, :, 0, 0]
    assert y[:, 0].tolist() == [2, 3, 0]
    assert y[:, 1].tolist() == [0, 1, 2]
    assert all(y[:, c].tolist() == [1, 2, 3] for c in range(2, 8))


def test_clips_do_not_leak_into_each_other() -> None:
    x = torch.randn(8, 8, 2, 2)
    assert torch.equal(TemporalShift(4)(x)[4:], TemporalShift(4)(x[4:]))


def test_gradient() -> None:
    x = torch.randn(6, 8, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(TemporalShift(3, 4), x)


def test_does_not_write_into_its_input_and_keeps_the_memory_format() -> None:
    x = torch.randn(6, 8, 3, 3).to(memory_format=torch.channels_last)
    before = x.clone()
    y = TemporalShift(3)(x)
    assert torch.equal(x, before)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_fewer_channels_than_shift_div_are_not_shifted() -> None:
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(TemporalShift(2, 8)(x), x)


@pytest.mark.parametrize("shift_div", [1, 0, -8])
def test_wrong_shift_div_is_refused(shift_div: int) -> None:
    with pytest.raises(ValueError, match=rf"shift_div is {shift_div}; .*2 or more"):
        TemporalShift(8, shift_div)


def test_wrong_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"12.*num_segments=8"):
        TemporalShift(8)(torch.zeros(12, 8, 2, 2))
