"""Tests of folding and unfolding time."""

import pytest
import torch

from videozoo.shapes import fold_time, to_clips, unfold_time


def test_fold_time_puts_step_s_of_clip_b_into_row_b_times_s() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    folded = fold_time(x)
    assert folded.shape == (8, 3, 5, 6)
    for b in range(2):
        for s in range(4):
            assert torch.equal(folded[b * 4 + s], x[b, :, s])


def test_to_clips_undoes_fold_time() -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(to_clips(fold_time(x), 4), x)
    assert torch.equal(unfold_time(fold_time(x), 4), x.transpose(1, 2))


def test_unfold_time_takes_vectors_too() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    assert torch.equal(unfold_time(x, 3)[1, 2], x[5])


def test_channels_last_clips_become_channels_last_images_without_a_copy() -> None:
    x = torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    folded = fold_time(x)
    assert folded.is_contiguous(memory_format=torch.channels_last)
    assert folded.data_ptr() == x.data_ptr()


def test_a_wrong_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"first dim is 12, not a multiple of num_segments=8.*set_num_frames"):
        unfold_time(torch.zeros(12, 3), 8)
    with pytest.raises(ValueError, match="first dim is 7"):
        to_clips(torch.zeros(7, 3, 2, 2), 2)
