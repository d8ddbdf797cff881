"""Tests of torchvision v2 transforms and plain functions, and of datasets from Python lists."""

import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import write
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from videozoo.data import (
    JointDataset,
    SourceError,
    VideoDataset,
    VideoRecord,
    collate_clips,
    create_transform,
    load_source,
    read_frames,
)

RANDOM = v2.Compose(
    [
        v2.RandomResizedCrop(24, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.4, 0.4),
        v2.RandAugment(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        make_video(folder / f"{number}.mp4", num_frames=10 + number)
    return folder


@pytest.fixture(scope="module")
def records(videos: Path) -> list[VideoRecord]:
    return [VideoRecord(videos / f"{number}.mp4", number % 2, f"list:{number}") for number in range(4)]


def _clips(dataset: VideoDataset, **options: Any) -> list[Tensor]:
    return [batch["video"] for batch in DataLoader(dataset, batch_size=2, collate_fn=collate_clips, **options)]


def _noise(clip: Tensor) -> Tensor:
    """Add noise drawn from Python and NumPy, the same for all frames."""
    return clip[..., :16, :16].float() * random.random() + float(np.random.rand())


@pytest.mark.parametrize("transform", [RANDOM, _noise], ids=["v2", "plain"])
@pytest.mark.parametrize("is_training", [True, False])
def test_draws_are_the_seeds(records: list[VideoRecord], transform: Callable[..., Any], is_training: bool) -> None:
    make = partial(VideoDataset, records, transform, num_frames=4, is_training=is_training)
    dataset = make(seed=1)
    plain = _clips(dataset)
    again = _clips(pickle.loads(pickle.dumps(dataset)), num_workers=2)
    assert all(map(torch.equal, plain, again))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    assert plain[0].shape[1:-2] == ((3, 4) if is_training else (1, 3, 4))
    assert torch.equal(dataset[3]["video"], plain[1][1])
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()
    assert not torch.equal(make(seed=2)[3]["video"], plain[1][1])
    dataset.set_epoch(1)
    assert not torch.equal(dataset[3]["video"], plain[1][1])


def test_all_frames_share_a_draw(tmp_path: Path, records: list[VideoRecord]) -> None:
    # All frames of a file whose frames are one: after the transform they are one still.
    still = VideoDataset(
        [VideoRecord(records[0].path, 0, "", frame_range=(3, 4))], RANDOM, num_frames=4, is_training=True
    )
    for repeat in range(8):
        clip = still[repeat]["video"]
        assert torch.equal(clip, clip[:, :1].expand_as(clip))


def test_inputs_and_outputs(records: list[VideoRecord]) -> None:
    seen: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def look(clip: Tensor) -> Tensor:
        seen.append((clip.dtype, tuple(clip.shape)))
        return clip

    dataset = VideoDataset(records, look, num_frames=5, num_clips=2)
    views = dataset[2]["video"]
    assert seen == [(torch.uint8, (5, 3, 48, 64))] * 2
    frames = read_frames(records[2].path, [1, 3, 6, 8, 10])  # the middles of five segments
    assert torch.equal(views[0], frames.transpose(0, 1))
    swapped = VideoDataset(records, lambda clip: clip.permute(1, 0, 2, 3), num_frames=5, num_clips=2)
    assert torch.equal(swapped[2]["video"], views)
    gray = VideoDataset(records, v2.Grayscale(3), num_frames=5)[0]["video"]
    assert torch.equal(gray[:, :1].expand_as(gray), gray)
    wrapped = VideoDataset(records, tv_tensors.Video, num_frames=5, num_clips=2)[2]["video"]
    assert type(wrapped) is Tensor
    assert torch.equal(wrapped, views)
    for transform in (v1.Compose([v1.CenterCrop(16)]), nn.Sequential(v1.CenterCrop(16)), v2.CenterCrop(16)):
        out = VideoDataset(records, transform, num_frames=5)[0]["video"]
        assert out.dtype == torch.uint8
        assert out.shape == (1, 3, 5, 16, 16)
    # Beside one of ours, from one reading of the file.
    ours = VideoDataset(records, create_transform((3, 32, 32)), num_frames=4)
    joint = JointDataset([ours, VideoDataset(records, RANDOM, num_frames=5), dataset])[2]["video"]
    assert torch.equal(joint[0], ours[2]["video"])
    assert torch.equal(joint[1], VideoDataset(records, RANDOM, num_frames=5)[2]["video"])
    assert torch.equal(joint[2], views)


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        (lambda clip: list(clip), TypeError, r"<lambda>.* gave a list of 4, must give one tensor for the whole clip"),
        (v2.FiveCrop(16), TypeError, r"transform FiveCrop\(size=\(16, 16\)\) gave a tuple of 5, must give one tensor"),
        (lambda clip: None, TypeError, "gave a NoneType, must give one tensor"),
        (lambda clip: clip.long(), TypeError, "gave torch.int64, must give uint8 or floats"),
        (
            lambda clip: clip.float().mean(1),
            ValueError,
            r"gave \(4, 48, 64\) of a clip of 4 frames, must give \(4, 3, h",
        ),
        (v2.Grayscale(), ValueError, r"Grayscale.* gave \(4, 1, 48, 64\) of a clip of 4 frames"),
        (v2.UniformTemporalSubsample(2), ValueError, r"gave \(2, 3, .*; the data set chooses the frames"),
    ],
)
def test_other_results_are_refused(
    records: list[VideoRecord], transform: Callable[..., Any], error: type[Exception], message: str
) -> None:
    for options in ({"is_training": True, "on_broken": "replace"}, {"num_clips": 2, "on_broken": "report"}):
        with pytest.raises(error, match=message):
            VideoDataset(records, transform, num_frames=4, **options)[0]  # type: ignore[arg-type]


def test_objects_that_are_no_transform(records: list[VideoRecord]) -> None:
    with pytest.raises(TypeError, match="transform is 3, must be a function of a clip"):
        VideoDataset(records, 3, num_frames=4)  # type: ignore[arg-type]
    for function in (lambda: None, lambda a, b, c: a):
        with pytest.raises(TypeError, match="must take a clip, or a clip and its label"):
            VideoDataset(records, function, num_frames=4)
    sizes = VideoDataset(records, lambda clip: clip[..., : 9 + int(torch.randint(9, ()))], num_frames=4, num_clips=9)
    with pytest.raises(ValueError, match=r"gave clips of the sizes .*; end it with a crop or resize"):
        sizes[0]


def test_from_list(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(videos / f"{number}.mp4", ("run", "jump")[number % 2]) for number in range(4)]
    dataset = VideoDataset.from_list(items, v2.CenterCrop(32), num_frames=4, is_training=True, seed=3)
    assert dataset.class_names == ("jump", "run")
    assert [item["label"] for item in dataset] == [1, 0, 1, 0]
    assert dataset[0]["video"].shape == (3, 4, 32, 32)
    assert torch.equal(
        VideoDataset(dataset.records, v2.CenterCrop(32), num_frames=4, is_training=True, seed=3)[1]["video"],
        dataset[1]["video"],
    )
    given = VideoDataset.from_list(items, v2.CenterCrop(32), num_frames=4, class_names=["a", "run", "jump"])
    assert [record.label for record in given.records] == [1, 2, 1, 2]
    monkeypatch.chdir(videos)
    write(videos / "classes.txt", "not\nthese\n")  # is beside a file, and this is none
    numbered = VideoDataset.from_list(
        [("0.mp4", 0), ["./1.mp4", np.int64(2)]], v2.CenterCrop(32), num_frames=4, data_root=videos
    )
    assert (numbered.class_names, numbered[1]["label"]) == (("0", "1", "2"), 2)
    assert load_source([("0.mp4", 0), ("1.mp4", 1)]).records[1].source == "items[1]"
    several = VideoDataset.from_list(
        [("0.mp4", ["run", "jump"]), ("1.mp4", []), ("2.mp4", "run")], RANDOM, multi_label=True, num_frames=4
    )
    assert [item["label"].tolist() for item in several] == [[1, 1], [0, 0], [0, 1]]
    assert VideoDataset.from_list([("0.mp4", "1"), ("1.mp4", "10")], RANDOM, num_frames=4).class_names == ("1", "10")


def test_from_list_names_the_item(videos: Path) -> None:
    items: list[Any] = [
        *((videos / "0.mp4", 0), (videos / "gone.mp4", 1), (videos / "1.mp4",), ("", 1), (videos / "2.mp4", None)),
        *((videos / "3.mp4", 1.5), (videos / "0.mp4", 1), (videos / "1.mp4", -1), (videos / "2.mp4", True), (3, 1)),
    ]
    with pytest.raises(SourceError) as caught:
        VideoDataset.from_list(items, RANDOM, num_frames=4)
    text = str(caught.value)
    assert text.startswith("the list of (path, label): 9 problems; nothing was loaded")
    for line in (
        "items[1]: no such file",
        "must be a path and a label",
        "items[3]: the path is empty",
        "items[4]: " + str(videos / "2.mp4") + " has no label",
        "items[5]: label 1.5 is neither a class name nor an index",
        "items[6]: " + str(videos / "0.mp4") + " is listed again (first at items[0]) with another label",
        "items[7]: class index -1 is out of range",
        "items[8]: label True is neither",
        "items[9]: (3, 1) must be a path and a label",
    ):
        assert line in text
    with pytest.raises(SourceError, match=r"items\[1\]: label is an index, that of items\[0\] a class name"):
        VideoDataset.from_list([(videos / "0.mp4", "a"), (videos / "1.mp4", 0)], RANDOM, num_frames=4)
    with pytest.raises(SourceError, match=r"items\[0\]: unknown class 'a'; known are b, c"):
        VideoDataset.from_list([(videos / "0.mp4", "a")], RANDOM, num_frames=4, class_names=["b", "c"])
    with pytest.raises(ValueError, match="nothing is listed"):
        VideoDataset.from_list([], RANDOM, num_frames=4)
    file = videos / "0.mp4"
    for other in (file, str(file), [file], {file: "a"}, np.array([(str(file), "a")]), [VideoRecord(file, 0, "")]):
        with pytest.raises(SourceError, match=r"from_list: items is a .*, must be a list of \(path, label\)"):
            VideoDataset.from_list(other, RANDOM, num_frames=4)
    with pytest.raises(SourceError, match="has neither a data_format nor a split"):
        load_source([(videos / "0.mp4", 0)], split="train")
