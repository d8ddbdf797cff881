"""Tests of folders, lists and csv files, and of their errors."""

import random
from pathlib import Path

import pytest
from helpers import write

from videozoo.data import SourceError, VideoRecord, VideoSource, load_source, split_by_hash


def _touch(*paths: Path) -> None:
    for path in paths:
        write(path, "x")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Folder with ``a.mp4 b.mp4 c.mp4`` and ``with space.mp4``."""
    _touch(*(tmp_path / f"{name}.mp4" for name in ("a", "b", "c", "with space")))
    return tmp_path


def _found(source: VideoSource) -> list[tuple[str, int]]:
    return [(record.name, record.label) for record in source.records]


def test_folder_of_class_folders(tmp_path: Path) -> None:
    _touch(
        *(tmp_path / "class10" / name for name in ("v10.MP4", "v9.webm", ".hidden.mp4", "notes.txt")),
        *(tmp_path / "class9" / "clip" / name for name in ("1.jpg", "2.jpg")),
        tmp_path / "readme.md",
    )
    (tmp_path / ".git").mkdir()
    source = load_source(tmp_path)
    assert source.class_names == ("class9", "class10")
    assert _found(source) == [("class9/clip", 0), ("class10/v9.webm", 1), ("class10/v10.MP4", 1)]
    assert source.records[1].path == tmp_path / "class10" / "v9.webm"
    given = load_source(tmp_path, class_names=["x", "class10", "class9"])
    assert _found(given) == [("class9/clip", 2), ("class10/v9.webm", 1), ("class10/v10.MP4", 1)]
    assert given.class_names == ("x", "class10", "class9")


def test_folder_faults_come_together(tmp_path: Path) -> None:
    _touch(tmp_path / "images" / "1.jpg", tmp_path / "deep" / "inner" / "x.mp4", tmp_path / "good" / "x.mp4")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "good" / "empty.mp4").touch()
    (tmp_path / "good" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    with pytest.raises(SourceError) as caught:
        load_source(tmp_path)
    text = str(caught.value)
    assert "4 problems" in text
    assert "images: class folder without videos; put the frames of each video in a folder of their own" in text
    assert f"deep/inner: videos one folder too deep; pass {tmp_path / 'deep'} if its folders are the classes" in text
    assert "nothing: class folder without videos" in text
    assert "good/gone.mp4: no such file" in text
    with pytest.raises(SourceError, match="good: unknown class; known are images"):
        load_source(tmp_path, class_names=["images"])
    with pytest.raises(SourceError, match="no class folders"):
        load_source(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["a.mp4 1\nwith space.mp4 0\n", "\ufeffa.mp4 1\r\n\r\n  with space.mp4\t0  \r\n"])
def test_list_of_indices(videos: Path, text: str) -> None:
    source = load_source(write(videos / "train.txt", text))
    assert _found(source) == [("a.mp4", 1), ("with space.mp4", 0)]
    assert source.class_names == ("0", "1")
    assert source.records[0] == VideoRecord(videos / "a.mp4", 1, "train.txt:1", "a.mp4")


def test_list_of_names(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 jump\nb.mp4\tsit down\nc.mp4 jump")
    source = load_source(path)
    assert source.class_names == ("jump", "sit down")
    assert _found(source) == [("a.mp4", 0), ("b.mp4", 1), ("c.mp4", 0)]
    source = load_source(path, class_names=["sit down", "run", "jump"])
    assert [record.label for record in source.records] == [2, 0, 2]
    with pytest.raises(SourceError, match=r"train\.txt:2: unknown class 'sit down'; known are jump"):
        load_source(path, class_names=["jump"])


def test_classes_beside_the_list_name_the_indices(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 2\nb.mp4 0\n")
    write(videos / "classes.txt", "\ufeffzero\r\none\r\ntwo\r\n")
    assert load_source(path).class_names == ("zero", "one", "two")
    with pytest.raises(SourceError, match=r"unknown class .two. \(classes\.txt:3\); known are x, y, z"):
        load_source(path, class_names=["x", "y", "z"])
    write(videos / "classes.txt", "zero\none\nzero\n")
    with pytest.raises(SourceError, match=r"classes\.txt:3: class name 'zero' again \(first at 1\)"):
        load_source(path)


def test_csv(videos: Path) -> None:
    path = write(videos / "x.csv", '\ufeffLabel, path,note\r\njump,"a.mp4",1\r\nrun,with space.mp4,"two\nlines"\r\n')
    source = load_source(path)
    assert _found(source) == [("a.mp4", 0), ("with space.mp4", 1)]
    assert source.class_names == ("jump", "run")
    write(videos / "x.csv", "path,label\na.mp4\n,3\nb.mp4,x,y\nc.mp4,\n")
    with pytest.raises(SourceError) as caught:
        load_source(path)
    for line in (
        "x.csv:2: 1 columns",
        "x.csv:3: the path is empty",
        "x.csv:4: 3 columns",
        "x.csv:5: the label is empty",
    ):
        assert line in str(caught.value)
    write(videos / "x.csv", "clip,kind\na.mp4,1\n")
    with pytest.raises(SourceError, match=r"x\.csv:1: the header is 'clip,kind', must have the columns path and label"):
        load_source(path)


def test_data_root_and_absolute_paths(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("lists")
    path = write(elsewhere / "train.txt", f"a.mp4 0\n./b.mp4 1\n{videos}/c.mp4 1\n")
    source = load_source(path, data_root=videos)
    assert _found(source) == [("a.mp4", 0), ("b.mp4", 1), ("c.mp4", 1)]
    assert source.records[0].path == videos / "a.mp4"
    with pytest.raises(SourceError, match=r"train\.txt:1: no such file"):
        load_source(path)
    with pytest.raises(SourceError, match="no such folder; data_root"):
        load_source(path, data_root=videos / "nowhere")


def test_list_faults_come_together_with_their_lines(videos: Path) -> None:
    (videos / "empty.mp4").touch()
    (videos / "folder").mkdir()
    lines = ["a.mp4 0", "", "gone.mp4 1", "b.mp4", "c.mp4 jump", "./a.mp4 0", "empty.mp4 1", "folder 0", "b.mp4 -1"]
    lines += ["with space.mp4 37 1", "a\x00.mp4 1".replace("\x00", "?" * 300)]
    with pytest.raises(SourceError) as caught:
        load_source(write(videos / "train.txt", "\n".join(lines)))
    text = str(caught.value)
    assert "8 problems" in text
    for line in (
        "train.txt:3: no such file",
        "train.txt:4: b.mp4 has no label",
        "train.txt:5: label 'jump' is a class name, the first (train.txt:1) is an index",
        "train.txt:6: ./a.mp4 is listed again (first at train.txt:1)",
        "train.txt:8: a folder without images",
        "train.txt:9: class index -1 is out of range",
        "(more than two columns? write path and label only; several labels a video are for multi-label models only",
        "train.txt:11: cannot be read",
    ):
        assert line in text


def test_twenty_problems_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", "\n".join(f"{i}.mp4 0" for i in range(33)))
    with pytest.raises(SourceError) as caught:
        load_source(path)
    lines = str(caught.value).splitlines()
    assert "33 problems" in lines[0]
    assert len(lines) == 22
    assert lines[-1].strip() == "and 13 more"


def test_no_list(videos: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        load_source(videos / "nowhere.txt")
    with pytest.raises(SourceError, match="a video, not a list"):
        load_source(videos / "a.mp4")
    for text in ("", "\n \n"):
        with pytest.raises(SourceError, match="nothing is listed"):
            load_source(write(videos / "train.txt", text))
    (videos / "train.txt").write_bytes(b"caf\xe9.mp4 0\n")
    with pytest.raises(SourceError, match="the list is not UTF-8 text there"):
        load_source(videos / "train.txt")
    with pytest.raises(SourceError, match="at least one class name"):
        load_source(write(videos / "train.txt", "a.mp4 0"), class_names=[])
    with pytest.raises(SourceError, match="class index 99999999999 is out of range"):
        load_source(write(videos / "train.txt", "a.mp4 99999999999"))


def _source(sizes: list[int]) -> VideoSource:
    records = [
        VideoRecord(Path(f"/x/{label}/{i}.mp4"), label, "", f"{label}/{i}.mp4")
        for label, size in enumerate(sizes)
        for i in range(size)
    ]
    return VideoSource(tuple(records), tuple(map(str, range(len(sizes)))))


def test_split_by_hash_is_stratified_and_stable() -> None:
    source = _source([1, 2, 5, 50, 100])
    train, val = split_by_hash(source, 0.2)
    assert [sum(r.label == label for r in val.records) for label in range(5)] == [0, 1, 1, 10, 20]
    assert set(train.records) | set(val.records) == set(source.records)
    assert not set(train.records) & set(val.records)
    assert train.class_names == val.class_names == source.class_names
    mixed = list(source.records)
    random.Random(0).shuffle(mixed)
    moved = tuple(VideoRecord(Path("/y") / r.name, r.label, "other", r.name) for r in mixed)
    _, other = split_by_hash(VideoSource(moved, source.class_names), 0.2)
    assert {r.name for r in other.records} == {r.name for r in val.records}
    # The very videos, so that no change of the code moves anyone's split unseen.
    assert [r.name for r in val.records][:2] == ["1/1.mp4", "2/1.mp4"]
    _, most = split_by_hash(_source([2, 3]), 0.99)
    assert [sum(r.label == label for r in most.records) for label in range(2)] == [1, 2]


def test_split_by_hash_refuses() -> None:
    with pytest.raises(ValueError, match="val_frac is 1"):
        split_by_hash(_source([4]), 1)
    with pytest.raises(SourceError, match="no class has videos of two films"):
        split_by_hash(_source([1, 1]))


def test_real_lists(shared_data: Path) -> None:
    folder = shared_data / "order4"
    train, val = load_source(folder / "train.txt"), load_source(folder / "val.txt")
    assert (len(train.records), len(val.records)) == (132, 66)
    assert train.class_names == ("bend_down", "stand_up", "arms_raise", "arms_lower")
    assert len(load_source(folder / "videos").records) == 198
