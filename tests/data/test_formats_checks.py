"""Tests of checks between lists and of damaged lists."""

import csv
import os
import tempfile
from pathlib import Path

import pytest
from helpers import load_file_as_module, write
from hypothesis import given, settings
from hypothesis import strategies as st

from videozoo.data import DATA_FORMATS, SourceError, VideoRecord, VideoSource, check_splits, load_source
from videozoo.names import clean_name

ROOT = Path(__file__).parents[2]
damage = load_file_as_module(ROOT / "benchmarks" / "robustness_lists.py")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in "abcd":
        write(tmp_path / f"{name}.mp4", name)
    return tmp_path


@pytest.mark.parametrize("name", sorted(damage.SETS))
def test_the_sets_that_are_damaged_are_sound(tmp_path: Path, name: str) -> None:
    damage.write_set(tmp_path, name)
    options = {key: value for key, value in damage.SETS[name].options.items() if key != "data_format"}
    named = load_source(tmp_path / damage.SETS[name].data, **options, data_format=name)
    assert named.data_format == name
    assert len({record.label for record in named.records}) == 2
    if name != "range_list":
        assert load_source(tmp_path / damage.SETS[name].data, **options) == named


def test_damaged_lists_give_a_source_or_the_one_error() -> None:
    result = damage.run(165)
    assert result["others"] == []
    assert sum(result["outcomes"].values()) == 165
    assert set(result["by_format"]) | {"class_folders", "shards"} == set(DATA_FORMATS)
    assert min(result["outcomes"].values()) > 10


@pytest.mark.slow
def test_many_more_damaged_lists() -> None:
    assert damage.run(3000, seed=7)["others"] == []


def test_the_fuzz_reports_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> VideoSource:
        raise KeyError("x")

    monkeypatch.setattr(damage, "load_source", broken)
    result = damage.run(3)
    assert result["outcomes"] == {"other": 3}
    assert "KeyError: 'x'" in result["others"][0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" * 100_000, "nested too deeply"),
        (
            '[{"id": 1}, {"id": 2},\n{"id": 3} {"id": 4}]',
            "x.json:2: not a JSON list (after item 3 comes '{\"id\": 4}]'",
        ),
        ("[1,]", "not a JSON list (item 2"),
        ("[1", "after item 1 comes ''"),
        ("[] x", "text after its end"),
        ('"a"', "it must start with ["),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a":\n,}', "x.json:2: not JSON"),
        ("[" + "9" * 5000 + "]", "not a JSON list (item 1"),
        ('[{"a": 1}]', "a JSON list of an unknown kind; items must have id and template"),
        ('{"a": {"b": 1}}', "JSON of an unknown kind; known are lists of Something-Something V2"),
        ("[]", "a JSON list of an unknown kind"),
    ],
)
def test_json_that_is_no_list_of_videos(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SourceError) as caught:
        load_source(write(tmp_path / "x.json", text))
    assert place in str(caught.value)


def test_the_format_may_be_named_and_must_fit(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 0\nb.mp4 1\n")
    assert load_source(path, data_format="path_list").summary() == "2 videos of 2 classes (path_list), 1 to 1 a class"
    with pytest.raises(SourceError, match=r"nothing was loaded \(read as path_list; another data_format\?\)"):
        load_source(write(videos / "train.txt", "a.mp4 0\nb.mp4\n"))
    write(path, "a.mp4 0\nb.mp4 1\n")
    with pytest.raises(SourceError, match="data_format is 'tsm'; choose from class_folders, path_list, csv"):
        load_source(path, data_format="tsm")
    with pytest.raises(SourceError, match=r"train\.txt:1: 'a\.mp4 0' must be 3 columns: path, frames, label"):
        load_source(path, data_format="frame_list")
    with pytest.raises(SourceError, match="a folder, not a list; data_format='csv' reads a file"):
        load_source(videos, data_format="csv")
    with pytest.raises(SourceError, match="a file, not a folder of class folders"):
        load_source(path, data_format="class_folders")
    with pytest.raises(
        SourceError, match="split is 'val', but path_list holds one; it is for kinetics, ucf101, hmdb51"
    ):
        load_source(path, split="val")
    with pytest.raises(SourceError, match="several files can only be shards"):
        load_source([path, path])
    for strange in ("x\0y", "x" * 5000):
        with pytest.raises(SourceError, match=r"cannot be read|no such file"):
            load_source(strange)


def test_folders_that_may_not_be_listed(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SourceError, match=r"cannot be read \(Permission denied\)"):
        load_source(videos)


def test_files_may_be_left_unchecked(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 0\ngone.mp4 1\n")
    with pytest.raises(SourceError, match=r"'videozoo check-data' writes a list(.|\n)*train\.txt:2: no such file"):
        load_source(path)
    source = load_source(path, check_files=False)
    assert [record.name for record in source.records] == ["a.mp4", "gone.mp4"]
    kinetics = write(videos / "k.csv", "label,youtube_id,time_start,time_end\nrun,gone,1,2\n")
    assert load_source(kinetics, check_files=False).records[0].path == videos / "gone_000001_000002.mp4"
    with pytest.raises(SourceError, match=r"None of the videos is there; is .* the folder that they start from"):
        load_source(write(videos / "train.txt", "x/a.mp4 0\nx/b.mp4 1\n"))


def test_reordered_classes_are_reported_by_name(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 0\nb.mp4 1\n")
    write(videos / "classes.txt", "jump\nrun\n")
    source = load_source(path, class_names=["run", "jump"])
    assert [source.class_names[record.label] for record in source.records] == ["jump", "run"]


def test_unused_classes_are_reported_with_their_lines(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 0\nb.mp4 3\n")
    write(videos / "classes.txt", "zero\none\ntwo\nthree\n")
    source = load_source(path)
    assert source.warnings == (f"{path}: 2 of 4 classes have no video: one (classes.txt:2), two (classes.txt:3)",)
    assert source.summary() == "2 videos of 4 classes (path_list), 1 to 1 a class; 2 classes have none"
    for name in ("x", "y"):
        write(videos / "folders" / name / "v.mp4", name)
    folders = load_source(videos / "folders", class_names=["x", "y", "z"])
    assert folders.warnings == (f"{videos / 'folders'}: no folder of the classes z",)


def test_names_of_classes_must_be_names(videos: Path) -> None:
    path = write(videos / "x.csv", 'path,label\na.mp4,"two\nlines"\nb.mp4,' + "x" * 1001 + "\nc.mp4,fine\n")
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert "x.csv:3: 'two\\nlines' is no class name: it has control characters or line breaks" in str(caught.value)
    assert "is no class name: it has 1001 characters" in str(caught.value)


def test_splits_that_share_videos(videos: Path) -> None:
    (videos / "link.mp4").symlink_to(videos / "a.mp4")
    os.link(videos / "b.mp4", videos / "hard.mp4")
    train = load_source(write(videos / "train.txt", "a.mp4 0\nb.mp4 1\nc.mp4 0\n"))
    val = load_source(write(videos / "val.txt", "link.mp4 0\nd.mp4 1\n./hard.mp4 0\n"))
    found = check_splits(train, val)
    assert found == [
        "val.txt:1: link.mp4 is also in training (train.txt:1)",
        "val.txt:3: hard.mp4 is also in training (train.txt:2), with another class (0 here, 1 there)",
    ]
    alone = load_source(write(videos / "alone.txt", "d.mp4 0\n"), class_names=["0", "1"])
    assert check_splits(train, alone) == []


def test_splits_that_share_parts_of_videos(videos: Path) -> None:
    train = load_source(write(videos / "train.csv", "path,label,start,end\na.mp4,x,0,10\nb.mp4,y,0,5\n"))
    val = load_source(write(videos / "val.csv", "path,label,start,end\na.mp4,x,10,20\na.mp4,x,9,12\nb.mp4,y,,\n"))
    assert check_splits(train, val) == [
        "val.csv:2: a.mp4 is of a film of which another part is in training (train.csv:2)",
        "val.csv:3: a.mp4 overlaps a part that is in training (train.csv:2)",
        "val.csv:4: b.mp4 overlaps a part that is in training (train.csv:3)",
    ]


def test_splits_whose_classes_differ(videos: Path) -> None:
    train = load_source(write(videos / "train.txt", "a.mp4 0\nb.mp4 0\n"), class_names=["x", "y"])
    val = load_source(write(videos / "val.txt", "c.mp4 1\nd.mp4 1\n"), class_names=["x", "z"])
    assert check_splits(train, val) == [
        "training and validation number their classes differently: class 1 is 'y' and 'z'",
        "val.txt:1: class 'z' has 2 validation videos and no training video",
    ]
    many = tuple(VideoRecord(Path(f"/gone/{i}.mp4"), 0, f"l:{i}") for i in range(30))
    both = VideoSource(many, ("x",))
    assert check_splits(both, both)[-1] == "and 25 more videos are in both training and validation"
    assert len(check_splits(both, both)) == 6


def test_similar_formats_are_distinguished(videos: Path) -> None:
    (videos / "12").mkdir()
    for name in ("1.jpg", "2.jpg"):
        write(videos / "12" / name, "x")
    (videos / "take 2 3").mkdir()
    write(videos / "take 2 3" / "1.jpg", "x")
    (videos / "[a] b.mp4").write_bytes(b"x")
    for text, data_format in (
        ("12 2 0\n", "frame_list"),
        # A path that ends in numbers, as far as it is there.
        ("take 2 3 0\n", "path_list"),
        ("[a] b.mp4 0\n", "path_list"),
        ("a.mp4\tsit down\n", "path_list"),
        ("label,path\n0,a.mp4\n", "csv"),
    ):
        assert load_source(write(videos / "train.txt", text)).data_format == data_format, text


def test_summary() -> None:
    records = tuple(VideoRecord(Path(str(i)), i % 2, "") for i in range(5))
    assert VideoSource(records, ("a", "b", "c")).summary() == "5 videos of 3 classes, 2 to 3 a class; 1 class has none"
    assert VideoSource(records[:1], ("a",)).summary() == "1 video of 1 class, 1 to 1 a class"


# What a file system takes for a name; spaces at the ends are cut in lists, and lone surrogates are no text.
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/"), min_size=1
)
FILES = NAMES.map(str.strip).filter(lambda name: name not in ("", ".", "..") and len(name.encode()) < 200)
CLASSES = NAMES.map(clean_name).filter(lambda name: name.isprintable() and name and not name.lstrip("+-").isdigit())


@settings(max_examples=25)
@given(st.dictionaries(FILES, CLASSES, min_size=1, max_size=5))
def test_csv_holds_any_names(labels: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        videos, path = Path(folder) / "videos", Path(folder) / "list.csv"
        videos.mkdir()
        for name in labels:
            (videos / name).write_bytes(b"x")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label"), *labels.items()])
        source = load_source(path, data_root=videos)
        assert {record.name: source.class_names[record.label] for record in source.records} == labels


def test_class_names_of_another_list_are_reported_and_can_be_replaced(videos: Path) -> None:
    path = write(videos / "train.txt", "a.mp4 0\nb.mp4 1\n")
    beside = write(videos / "classes.txt", "one\ntwo\nthree\nfour\nfive\n")
    own = write(videos / "own.txt", "jump\nrun\n")
    (warning,) = load_source(path).warnings
    assert warning.startswith(f"class names from {beside} (5 of them, the list uses 2); if ")
    assert warning.endswith("name the right one: --class-names FILE")
    source = load_source(path, names_file=own)
    assert (source.class_names, source.warnings) == (("jump", "run"), ())
    with pytest.raises(
        SourceError, match=r"1 problem; .*named by .*classes\.txt; .*--class-names FILE\n.*'one'.*line"
    ) as caught:
        load_source(write(videos / "val.txt", "a.mp4 0\nb.mp4 0\n"), class_names=["run", "jump"])
    assert "(and 1 more line with it)" in str(caught.value)
    source = load_source(path, class_names=["run", "jump"], names_file=own)
    assert [record.label for record in source.records] == [1, 0]
