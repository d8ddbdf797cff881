"""Tests of multi-label lists and multi-hot targets."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import write
from torch import Tensor

from videozoo.arguments import UsageError
from videozoo.data import (
    ClipNormalizer,
    JointDataset,
    SourceError,
    TrainBatch,
    VideoDataset,
    VideoRecord,
    VideoSource,
    check_splits,
    collate_clips,
    create_transform,
    load_source,
    split_by_hash,
)
from videozoo.training.sources import load_train_and_val


@pytest.fixture
def clips(tmp_path: Path, make_video: Callable[..., Path], make_frames: Callable[..., None]) -> Path:
    """Files c1.mp4 to c4.mp4 of 12 frames, folders d1 to d3 and "d 1" of 12 images."""
    first = make_video(tmp_path / "c1.mp4", 12)
    for number in range(2, 5):
        (tmp_path / f"c{number}.mp4").write_bytes(first.read_bytes())
    for name in ("d1", "d2", "d3", "d 1"):
        make_frames(tmp_path / name, range(12))
    return tmp_path


def _labels(source: VideoSource) -> list[tuple[int, ...] | None]:
    assert source.multi_label
    assert all(record.label == -1 for record in source.records)
    return [record.labels for record in source.records]


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["c1.mp4 0 3", "c2.mp4 1", "c3.mp4"], [(0, 3), (1,), ()]),
        (["c1.mp4 3 0 1 2", "c2.mp4 1 0"], [(0, 1, 2, 3), (0, 1)]),
        (["c1.mp4\t0\t3", "c2.mp4\t", "c3.mp4\t1|2"], [(0, 3), (), (1, 2)]),
        (["c1.mp4 0|3", "c2.mp4 1"], [(0, 3), (1,)]),
        (["d1 5 3", "d2 12 3", "d3"], [(3, 5), (3, 12), ()]),
        (["d 1 5", "c1.mp4 5 6"], [(5,), (5, 6)]),
    ],
)
def test_indices_in_text_lists(clips: Path, rows: list[str], labels: list[tuple[int, ...]]) -> None:
    source = load_source(write(clips / "list.txt", "\n".join(rows)), multi_label=True)
    assert _labels(source) == labels
    assert source.data_format == "path_list"


def test_names_in_text_lists_and_csv(clips: Path) -> None:
    text = load_source(write(clips / "list.txt", "c1.mp4 run|jump\nc2.mp4 jump\nc3.mp4\n"), multi_label=True)
    assert text.class_names == ("jump", "run")
    assert _labels(text) == [(0, 1), (0,), ()]
    rows = 'path,labels\nc1.mp4,"jump, high | run"\nc2.mp4,run\nc3.mp4,\n'
    table = load_source(write(clips / "list.csv", rows), multi_label=True)
    assert table.class_names == ("jump, high", "run")
    assert _labels(table) == [(0, 1), (1,), ()]
    again = load_source(clips / "list.csv", class_names=["run", "jump, high", "sit"], multi_label=True)
    assert _labels(again) == [(0, 1), (0,), ()]
    assert "several a video" in again.summary()
    for column in ("label", "class_index"):
        of_indices = write(clips / "list.csv", f"path,{column}\nc1.mp4,0|2\nc2.mp4,1\n")
        assert _labels(load_source(of_indices, multi_label=True)) == [(0, 2), (1,)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["d1 12 1", "d2 12 3"], "its number of images"),
        (["d 1 5", "d 1 5"], "is listed again"),
        (["c1.mp4 0", "c1.mp4 1"], "with other labels; list it once, with all of them"),
        (["c1.mp4 0|0"], "comes twice"),
        (["c1.mp4 jump||run"], "one of them is empty"),
        (["c1.mp4 0,3", "c2.mp4 1"], "join the labels of a video by |"),
        (["c1.mp4 0 3", "c2.mp4 jump"], "is a class name"),
        (["c9.mp4 0 3"], "no such file"),
    ],
)
def test_problems_are_reported(clips: Path, rows: list[str], said: str) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(write(clips / "list.txt", "\n".join(rows)), multi_label=True)
    assert said in str(caught.value)
    assert "for multi-label models only" not in str(caught.value)


def test_a_folder_whose_name_may_end_in_a_number(clips: Path, make_frames: Callable[..., None]) -> None:
    make_frames(clips / "d", range(3))
    with pytest.raises(SourceError, match="put a tab behind the path"):
        load_source(write(clips / "list.txt", "d 1 5\nc1.mp4 5"), multi_label=True)
    source = load_source(write(clips / "list.txt", "d 1\t5\nd\t1\t5"), multi_label=True)
    assert [record.name for record in source.records] == ["d 1", "d"]


def test_other_sources_are_refused(clips: Path) -> None:
    for data, options in (
        (clips, {}),
        (clips / "x.tar", {}),
        (write(clips / "list.txt", "c1.mp4 0"), {"data_format": "frame_list"}),
        (clips / "list.txt", {"split": "train"}),
    ):
        with pytest.raises(SourceError):
            load_source(data, multi_label=True, **options)  # type: ignore[arg-type]


def test_out_of_range_and_unknown_classes(clips: Path) -> None:
    with pytest.raises(SourceError, match="class index 3 is out of range; must be 0 to 1"):
        load_source(write(clips / "a.txt", "c1.mp4 0 3"), class_names=["a", "b"], multi_label=True)
    with pytest.raises(SourceError, match="unknown class 'c'"):
        load_source(write(clips / "a.txt", "c1.mp4 a|c"), class_names=["a", "b"], multi_label=True)


def _records(*labels: tuple[int, ...]) -> tuple[VideoRecord, ...]:
    return tuple(VideoRecord(Path(f"v{k}.mp4"), -1, f"l:{k}", f"v{k}.mp4", labels=own) for k, own in enumerate(labels))


def test_every_class_and_those_without_one_are_split() -> None:
    records = _records(*[(k % 3, (k + 1) % 3) for k in range(30)], *[(3,)] * 10, *[()] * 10)
    source = VideoSource(records, ("a", "b", "c", "d"), multi_label=True)
    train, val = split_by_hash(source)
    assert len(val.records) == pytest.approx(10, abs=3)
    assert len(train.records) + len(val.records) == 50
    for part in (train, val):
        assert {label for record in part.records for label in record.classes} == {0, 1, 2, 3}
        assert any(record.labels == () for record in part.records)
    assert not check_splits(train, val)
    only = VideoSource(_records((0, 3)), source.class_names, multi_label=True)
    assert (
        "class 'd' has 1 validation videos and no training video"
        in check_splits(VideoSource(records[:3], source.class_names, multi_label=True), only)[0]
    )


@pytest.fixture
def records(clips: Path) -> tuple[VideoRecord, ...]:
    return load_source(write(clips / "list.txt", "c1.mp4 0 3\nc2.mp4\nc3.mp4 1"), multi_label=True).records


def test_targets_are_multi_hot(records: tuple[VideoRecord, ...]) -> None:
    transform = create_transform((3, 16, 16), is_training=True, normalize=False)
    dataset = VideoDataset(records, transform, num_frames=2, num_classes=4, is_training=True)
    batch = collate_clips([dataset[k] for k in range(3)])
    assert batch["label"].tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert batch["label"].dtype == torch.float32
    test = VideoDataset(records, create_transform((3, 16, 16), normalize=False), num_frames=2, num_classes=4)
    joint = JointDataset([test, test])[0]["label"]
    assert isinstance(joint, Tensor)
    assert torch.equal(joint, batch["label"][0])
    assert VideoDataset(records, test.transform, num_frames=2)[0]["label"] == -1


def test_a_broken_video_costs_itself(records: tuple[VideoRecord, ...], clips: Path) -> None:
    (clips / "c1.mp4").write_bytes(b"no video")
    transform = create_transform((3, 16, 16), is_training=True, normalize=False)
    dataset = VideoDataset(records, transform, num_frames=2, num_classes=4, is_training=True, on_broken="replace")
    item = dataset[0]
    assert item["broken"]
    assert item["label"].tolist() == ([0, 0, 0, 0] if item["index"] == 1 else [0, 1, 0, 0])


def test_flipping_changes_every_label_or_none() -> None:
    frames = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    flips = {0: 1, 1: 0, 3: None}
    transform = create_transform((3, 16, 16), is_training=True, hflip=1.0, flip_labels=flips, normalize=False)
    assert transform(frames, (0, 2))[1] == (1, 2)
    assert transform(frames, (0, 3))[1] == (0, 3)
    assert transform(frames, ())[1] == ()


@pytest.mark.parametrize("batch_size", [4, 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_are_mixed(batch_size: int, smoothing: float) -> None:
    video = torch.randint(0, 256, (batch_size, 3, 2, 8, 8), dtype=torch.uint8)
    labels = (torch.rand(batch_size, 6) < 0.4).float()
    normalizer = ClipNormalizer((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    mixed, target = TrainBatch(normalizer, num_classes=6, mixup=1.0, smoothing=smoothing)(video, labels)
    plain = normalizer(video)
    share = ((mixed[0] - plain[3]) / (plain[0] - plain[3])).nanmedian()
    expected = labels * (1 - smoothing) + smoothing / 2
    expected[:4] = share * expected[:4] + (1 - share) * expected[:4].flip(0)
    torch.testing.assert_close(target, expected, atol=1e-4, rtol=0)


def test_labels_in_json_are_whole(clips: Path) -> None:
    for labels, said in (
        ('["a|b"]', r"\['a\|b'\]; one of them holds a \|"),
        ("[true, false]", "must be a class name or index"),
    ):
        path = write(clips / "train.jsonl", f'{{"path": "c1.mp4", "labels": {labels}}}\n')
        with pytest.raises(SourceError, match=said):
            load_source(path, multi_label=True)


def test_a_name_with_a_blank_is_no_label(clips: Path) -> None:
    path = write(clips / "train.txt", "gone away.mp4\nc1.mp4 run\n")
    source = load_source(path, multi_label=True, check_files=False)
    assert (source.class_names, _labels(source)) == (("run",), [(), (0,)])
    path = write(clips / "train.txt", "c1.mp4 run fast\nc2.mp4 run\n")
    with pytest.raises(SourceError, match=r"join names of classes by \|; where they hold blanks, put a tab"):
        load_source(path, multi_label=True)


def test_a_validation_without_any_class(clips: Path) -> None:
    train, val = write(clips / "train.txt", "c1.mp4 run\nc2.mp4\n"), write(clips / "val.txt", "c3.mp4\n")
    with pytest.raises(UsageError, match="no validation video has a class"):
        load_train_and_val(str(train), str(val), data_root=None, names_file=None, val_frac=0.2, multi_label=True)
