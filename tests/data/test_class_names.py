"""Tests of reading class names and matching labels to classes."""

import unicodedata
from pathlib import Path

import pytest
from helpers import write

from videozoo.data import SourceError, VideoSource, load_source
from videozoo.data.labels import read_names
from videozoo.jobs.write_list import write_list
from videozoo.models.registry import get_pretrained_cfg
from videozoo.names import clean_name, clean_names, find_alike

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in "abcd":
        write(tmp_path / f"{name}.mp4", name)
    return tmp_path


def _folders(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name / "v.mp4", "x")
    return root


def _named(source: VideoSource) -> list[str]:
    return [source.class_names[record.label] for record in source.records]


# Names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", r":2: class name '' is empty"),
        ("a\n\u00a0\n\u00a0b", r":2: class name .* is empty"),
        ("a\nb\na\n", r":3: class name 'a' again \(first at 1\)"),
        (f"{NFC}\n{NFD}\n", "again"),
        ("jump high\njump\u00a0high\n", "again"),
        ("a\x1b[2J\nb\n", "has control characters or line breaks"),
        ("a\u202eb\nc\n", "has control characters or line breaks"),
        ("x" * 1001, "has 1001 characters"),
        ("", "is empty|at least one"),
    ],
)
def test_a_file_of_names_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_names(write(tmp_path / "names.txt", text))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_of_names_is_read(tmp_path: Path, end: str) -> None:
    text = "\ufeff" + end.join([" run ", f"{NFD} \u3000noir", "a, b", "\u0645\u06cc\u200c\u0631\u0648\u062f", "", ""])
    names = read_names(write(tmp_path / "names.txt", text)).names
    assert names == ("run", f"{NFC}  noir", "a, b", "\u0645\u06cc\u200c\u0631\u0648\u062f")


def test_a_file_of_names_in_another_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    with pytest.raises(SourceError, match="not UTF-8 text"):
        read_names(tmp_path / "names.txt")


def test_published_names_are_in_the_one_spelling() -> None:
    for name in ("tsm_r50.mit_ssv2_8f", "tsm_r50.mm_k400_8f"):
        names = get_pretrained_cfg(name).label_names
        assert names is None or clean_names(names) == tuple(names)
    assert clean_name("\u00a0a\u3000b ") == "a b"
    assert find_alike(["Jump", "run", "jump", "RUN"]) == [("Jump", "jump"), ("run", "RUN")]


@pytest.mark.parametrize("name", ["jump\nrun", "jump\t", "a\x1b[2Jb", "caf\udce9"])
def test_folders_whose_names_are_no_names_of_classes(tmp_path: Path, name: str) -> None:
    _folders(tmp_path, "walk", name)
    with pytest.raises(SourceError, match="rename it") as caught:
        load_source(tmp_path)
    assert len(str(caught.value).splitlines()) == 2
    assert str(caught.value).isascii()


def test_folders_in_two_spellings_are_one_class(tmp_path: Path) -> None:
    _folders(tmp_path, NFC, NFD, "jump\u00a0high")
    source = load_source(tmp_path)
    assert source.class_names == (NFC, "jump high")
    assert sorted(_named(source)) == [NFC, NFC, "jump high"]
    assert unicodedata.is_normalized("NFC", "".join(source.class_names))


@pytest.mark.parametrize("kind", ["folders", "txt", "csv"])
def test_names_that_read_the_same_are_named(tmp_path: Path, kind: str) -> None:
    data = _folders(tmp_path, "Jump", "jump", "run")
    if kind != "folders":
        comma = "," if kind == "csv" else "\t"
        rows = [f"{name}/v.mp4{comma}{name}" for name in ("Jump", "jump", "run")]
        data = write(tmp_path / f"x.{kind}", "\n".join([f"path{comma}label"] * (kind == "csv") + rows))
    source = load_source(data)
    assert source.class_names == ("Jump", "jump", "run")
    assert "read the same stay apart: 'Jump' and 'jump'" in source.warnings[-1]
    assert load_source(data, class_names=source.class_names).warnings == ()


@pytest.mark.parametrize("other", ["JUMP high", "jump  high", "jump\u200b high", "\uff4aump high"])
def test_spellings_that_read_the_same(other: str) -> None:
    assert find_alike(["jump high", other, "jump"]) == [("jump high", other)]


def test_a_label_may_hold_a_no_break_space(videos: Path) -> None:
    source = load_source(write(videos / "x.txt", "a.mp4 jump\u00a0high\nb.mp4\tjump high\n"))
    assert source.class_names == ("jump high",)


# Lists of classes beside each other


@pytest.mark.parametrize(
    ("own", "labels", "expected"),
    [
        (["b", "c", "d"], [0, 1, 2], ["b", "c", "d"]),
        (["d", "a"], [1, 0], ["a", "d"]),
        (["d", "c", "b", "a"], [0, 3, 1], ["d", "a", "c"]),
        (["x", "d", "y", "a", "b", "c"], [1, 3], ["d", "a"]),
    ],
)
def test_indices_mean_the_names_beside_the_list(
    videos: Path, own: list[str], labels: list[int], expected: list[str]
) -> None:
    write(videos / "classes.txt", "\n".join(own))
    rows = [f"{name}.mp4 {label}" for name, label in zip("abcd", labels, strict=False)]
    source = load_source(write(videos / "x.txt", "\n".join(rows)), class_names=["a", "b", "c", "d"])
    assert source.class_names == ("a", "b", "c", "d")
    assert _named(source) == expected


def test_unknown_class_names_are_reported(videos: Path) -> None:
    write(videos / "classes.txt", "x\na\ny\n")
    path = write(videos / "x.txt", "a.mp4 0\nb.mp4 1\nc.mp4 2\nd.mp4 3\n")
    with pytest.raises(SourceError) as caught:
        load_source(path, class_names=["a", "b"])
    text = str(caught.value)
    assert "x.txt:1: unknown class 'x' (classes.txt:1); known are a, b" in text
    assert "x.txt:3: unknown class 'y' (classes.txt:3)" in text
    assert "x.txt:4: class index 3 is out of range; must be 0 to 2" in text
    # Classes without names: indices are all there is.
    assert [r.label for r in load_source(write(path, "a.mp4 2"), class_names=["0", "1", "2"]).records] == [2]


# Names that are numbers


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["1", "2", "3"], ["1", "2", "3"], [0, 1, 2]),
        (["1", "2", "3"], ["0", "2"], [0, 2]),
        (["01", "02", "03"], ["02", "03"], [1, 2]),
        (["01", "02", "03"], ["0", "2"], [0, 2]),
        (["-1", "0", "1"], ["-1", "1"], [0, 2]),
        (["0.5", "1.5"], ["1.5", "0.5"], [1, 0]),
        (["0", "1", "2"], ["2", "1"], [2, 1]),
        (["1", "2", "walk"], ["2", "walk"], [1, 2]),
        (["01", "02", "03"], ["01", "02"], [0, 1]),
    ],
)
@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_a_label_that_is_a_class_name_is_that_class(
    videos: Path, kind: str, names: list[str], labels: list[str], expected: list[int]
) -> None:
    comma = "," if kind == "csv" else " "
    rows = [f"{name}.mp4{comma}{label}" for name, label in zip("abcd", labels, strict=False)]
    path = write(videos / f"x.{kind}", "\n".join(["path,label"] * (kind == "csv") + rows))
    assert [record.label for record in load_source(path, class_names=names).records] == expected


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["1", "2", "3"], ["1", "2"]),
        (["2", "0", "1"], ["0", "1", "2"]),
        (["01", "02", "03"], ["1", "2"]),
        (["-1", "0", "1"], ["0", "1"]),
    ],
)
def test_ambiguous_labels_are_refused(videos: Path, names: list[str], labels: list[str]) -> None:
    rows = [f"{name}.mp4 {label}" for name, label in zip("abcd", labels, strict=False)]
    path = write(videos / "x.txt", "\n".join(rows))
    with pytest.raises(SourceError, match=r"as a name and class .* as an index; say which: write a csv"):
        load_source(path, class_names=names)
    rows = [row.replace(" ", ",") for row in rows]
    indices = load_source(write(videos / "x.csv", "\n".join(["path,class_index", *rows])), class_names=names)
    assert [record.label for record in indices.records] == [int(label) for label in labels]
    if set(labels) <= set(names):
        named = load_source(write(videos / "x.csv", "\n".join(["path,class", *rows])), class_names=names)
        assert _named(named) == labels


def test_numbers_with_zeros_before_them_are_names(videos: Path) -> None:
    source = load_source(write(videos / "x.txt", "a.mp4 01\nb.mp4 10\nc.mp4 02\n"))
    assert source.class_names == ("01", "02", "10")
    assert _named(source) == ["01", "10", "02"]


@pytest.mark.parametrize("names", [("1", "2", "3"), ("01", "02", "walk"), ("2", "10"), ("a", "b", "c"), ("-1", "0")])
def test_a_list_that_is_written_is_read_the_same(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = load_source(_folders(tmp_path / "videos", *names))
    for kept in (source.records, source.records[1:], source.records[:1]):
        write_list(tmp_path / "x.csv", kept, source.class_names)
        for class_names in (None, source.class_names):
            again = load_source(tmp_path / "x.csv", class_names=class_names)
            assert again.class_names == source.class_names
            assert [record.label for record in again.records] == [record.label for record in kept]
        (tmp_path / "classes.txt").unlink(missing_ok=True)


def test_names_with_blanks_and_line_breaks_are_read_again(tmp_path: Path) -> None:
    for name in (" a.mp4", "b .mp4", "c\rd.mp4", "e\nf.mp4"):
        write(tmp_path / "x" / name, "x")
    write(tmp_path / "y" / "c " / "1.jpg", "x")
    source = load_source(tmp_path)
    write_list(tmp_path / "list.csv", source.records, source.class_names)
    assert load_source(tmp_path / "list.csv").summary() == "5 videos of 2 classes (csv), 1 to 4 a class"
