"""Tests of batches: stacking, normalization, mixing and erasing."""

import pickle
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from videozoo.data import BalancedSampler, ClipNormalizer, TrainBatch, class_weights, collate_clips

PLAIN = ClipNormalizer((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _video(batch_size: int, num_frames: int = 3, side: int = 16) -> Tensor:
    return torch.randint(1, 256, (batch_size, 3, num_frames, side, side), dtype=torch.uint8)


def _item(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "video": torch.full((3, 2, 4, 4), index, dtype=torch.uint8),
        "label": 7,
        "index": index,
        "broken": [],
    } | changes


def test_collate_skips_unreadable_videos() -> None:
    lost = _item(1, video=None, broken=[(1, "b.mp4: empty")])
    batch = collate_clips([_item(0), lost, _item(2, label=3, broken=[(9, "c.mp4: torn")])])
    assert batch["video"].shape == (2, 3, 2, 4, 4)
    assert batch["video"].dtype == torch.uint8
    assert batch["label"].tolist() == [7, 3]
    assert batch["index"].tolist() == [0, 2]
    assert batch["broken"] == [(1, "b.mp4: empty"), (9, "c.mp4: torn")]


def test_collate_without_a_clip() -> None:
    batch = collate_clips([_item(1, video=None, broken=[(1, "b.mp4: empty")])])
    assert batch["video"] is None
    assert batch["label"].tolist() == batch["index"].tolist() == []
    assert batch["label"].dtype == batch["index"].dtype == torch.int64


def test_collate_of_several_models() -> None:
    items = [_item(n, video=[torch.full((1, 3, 2, 4, 4), n), torch.full((2, 3, 5, 4, 4), n)]) for n in range(3)]
    first, second = collate_clips(items)["video"]
    assert first.shape == (3, 1, 3, 2, 4, 4)
    assert second.shape == (3, 2, 3, 5, 4, 4)
    assert second[:, 0, 0, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalizer(order: str) -> None:
    made = ClipNormalizer((0.1, 0.2, 0.3), (0.5, 0.25, 0.2), order)
    video = _video(2)
    before = video.clone()
    colors = video.double() / 255
    if order == "bgr":
        colors = colors.flip(1)
    mean, std = (torch.tensor(x).double().view(3, 1, 1, 1) for x in (made.mean, made.std))
    torch.testing.assert_close(made(video), ((colors - mean) / std).float())
    assert torch.equal(made(video.float()), made(video))
    assert torch.equal(made(video[0]), made(video)[0])
    assert torch.equal(video, before)
    assert made(video.transpose(-1, -2)).is_contiguous(memory_format=torch.channels_last_3d)
    assert made(video[0].transpose(-1, -2)).is_contiguous()
    floats = video.float()
    made(floats)
    assert torch.equal(floats, before.float())
    assert pickle.loads(pickle.dumps(made)) == made


def test_normalizer_refuses() -> None:
    with pytest.raises(ValueError, match="needs"):
        PLAIN(torch.zeros(2, 4, 3, 8, 8))
    with pytest.raises(ValueError, match="channel_order is 'gbr'"):
        ClipNormalizer((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "gbr")
    with pytest.raises(ValueError, match="std above 0"):
        ClipNormalizer((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))


def test_batch_without_options_is_only_normalized() -> None:
    video, label = _video(3), torch.tensor([0, 1, 2])
    ready, target = TrainBatch(PLAIN)(video, label)
    assert torch.equal(ready, PLAIN(video))
    assert target is label


@settings(max_examples=60)
@given(
    batch_size=st.integers(1, 5),
    mixup=st.sampled_from([0.0, 0.2, 0.8]),
    cutmix=st.sampled_from([0.0, 1.0]),
    prob=st.sampled_from([0.0, 0.5, 1.0]),
    smoothing=st.sampled_from([0.0, 0.1]),
    reprob=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_mixed_targets_sum_to_one(
    batch_size: int, mixup: float, cutmix: float, prob: float, smoothing: float, reprob: float, seed: int
) -> None:
    _seed(seed)
    make = TrainBatch(
        PLAIN, num_classes=6, mixup=mixup, cutmix=cutmix, mixup_prob=prob, smoothing=smoothing, reprob=reprob
    )
    label = torch.randint(6, (batch_size,))
    video, target = make(_video(batch_size, 2, 8), label)
    assert video.shape == (batch_size, 3, 2, 8, 8)
    assert video.isfinite().all()
    if not make.is_mixing:
        assert torch.equal(target, label)
        return
    assert target.shape == (batch_size, 6)
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.sum(1), torch.ones(batch_size))
    assert target.min() >= 0
    seen = target[torch.arange(batch_size), label]
    assert ((seen > smoothing / 6) | (label != label.flip(0))).all()


@pytest.mark.parametrize("batch_size", [4, 5])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_clips_are_mixed_like_their_targets(kind: str, batch_size: int) -> None:
    """Every clip has one value all over: what is seen of each in the mixture is what its target says."""
    values = torch.arange(1, batch_size + 1) * 40
    video = values.view(-1, 1, 1, 1, 1).expand(-1, 3, 4, 16, 16).to(torch.uint8)
    make = TrainBatch(PLAIN, num_classes=batch_size, **{kind: 1.0})
    mixed = set()
    for seed in range(8):
        _seed(seed)
        ready, target = make(video, torch.arange(batch_size))
        assert (ready == ready[:, :, :1]).all()
        mean = (ready * 255).mean((1, 2, 3, 4))
        torch.testing.assert_close(mean, target @ values.float(), rtol=1e-4, atol=1e-2)
        mixed.add(round(target[0, 0].item(), 3))
        if batch_size % 2:
            assert target[-1].tolist() == [0, 0, 0, 0, 1]
    assert len(mixed) > 4


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_erased_box_is_the_same_in_all_frames(mode: str) -> None:
    _seed(3)
    video = _video(1, 1, 32).expand(6, 3, 4, 32, 32)
    ready, _ = TrainBatch(PLAIN, reprob=1.0, remode=mode)(video, torch.zeros(6, dtype=torch.int64))
    changed = ready != PLAIN(video)
    assert (changed == changed[:, :, :1]).all()
    assert (ready == ready[:, :, :1]).all()
    boxes = changed[:, 0, 0]
    assert len({int(box.sum()) for box in boxes}) > 1
    for clip, box in zip(ready, boxes, strict=True):
        assert 0.015 * 32 * 32 < box.sum() < 0.4 * 32 * 32
        rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
        assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        colors = clip[0, 0][box].unique()
        assert colors.tolist() == [0] if mode == "const" else (len(colors) > 1) == (mode == "pixel")


def test_erasing_has_the_given_probability() -> None:
    _seed(0)
    video = _video(200, 1, 8)
    ready, _ = TrainBatch(PLAIN, reprob=0.25)(video, torch.zeros(200, dtype=torch.int64))
    num_erased = int((ready != PLAIN(video)).flatten(1).any(1).sum())
    assert 25 <= num_erased <= 80


def test_draws_come_from_the_global_state() -> None:
    make = TrainBatch(PLAIN, num_classes=4, mixup=0.8, cutmix=1.0, reprob=0.5, remode="pixel")
    video, label = _video(4), torch.arange(4)
    outcomes = []
    for seed in (1, 2, 1):
        _seed(seed)
        outcomes.append(make(video, label))
    assert torch.equal(outcomes[0][0], outcomes[2][0])
    assert torch.equal(outcomes[0][1], outcomes[2][1])
    assert not torch.equal(outcomes[0][0], outcomes[1][0])
    assert pickle.loads(pickle.dumps(make)) == make


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixup": -0.1}, "mixup is -0.1"),
        ({"mixup": 0.2}, "num_classes is needed"),
        ({"reprob": 1.5}, "reprob is 1.5"),
        ({"remode": "blur"}, "one of const, rand, pixel"),
        ({"smoothing": 2.0}, "smoothing"),
    ],
)
def test_batch_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainBatch(PLAIN, **options)


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_balanced_sampler(counts: list[int], seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    if not labels:
        with pytest.raises(ValueError, match="at least one video"):
            BalancedSampler(labels)
        return
    sampler = BalancedSampler(labels, torch.Generator().manual_seed(seed))
    indices = list(sampler)
    assert len(indices) == len(sampler) == len(labels)
    assert len(set(indices)) == len(indices)
    drawn = Counter(labels[index % len(labels)] for index in indices)
    assert drawn.keys() <= set(labels)
    per_class = [drawn[label] for label in set(labels)]
    assert max(per_class) - min(per_class) <= 1
    for index in indices:  # a further draw comes only after all first draws of its class
        if index >= len(labels):
            label = labels[index % len(labels)]
            assert {n for n, other in enumerate(labels) if other == label} <= set(indices)
            assert index - len(labels) in indices
    again = BalancedSampler(labels, torch.Generator().manual_seed(seed))
    assert list(again) == indices


def test_balanced_sampler_draws_again_every_epoch() -> None:
    sampler = BalancedSampler([0] * 20 + [1] * 4)
    torch.manual_seed(0)
    first, second = list(sampler), list(sampler)
    torch.manual_seed(0)
    assert list(sampler) == first
    assert first != second
    assert Counter(index % 24 >= 20 for index in first) == {True: 12, False: 12}


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_class_weights_make_classes_equal(labels: list[int]) -> None:
    weights = class_weights(labels, 6)
    assert weights.dtype == torch.float32
    counts = torch.bincount(torch.tensor(labels), minlength=6)
    shares = (weights * counts)[counts > 0]
    torch.testing.assert_close(shares, shares[:1].expand_as(shares))
    assert weights[torch.tensor(labels)].mean().item() == pytest.approx(1, abs=1e-5)
    assert (weights[counts == 0] == 1).all()


def test_class_weights_refuse() -> None:
    for labels in ([], [0, 3], [-1]):
        with pytest.raises(ValueError, match="class_weights"):
            class_weights(labels, 3)
