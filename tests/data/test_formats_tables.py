"""Tests of lists from spreadsheets, pandas and Hugging Face."""

import json
import os
from pathlib import Path

import pytest
from helpers import write
from video_fixtures import MakeVideo, Shown

from videozoo.data import SourceError, VideoSource, load_source
from videozoo.training.sources import find_parts, load_train_and_val


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files with all separators in their names. Nothing opens them."""
    for name in ("a.mp4", "b.mp4", "with space.mp4", "semi;colon.mp4", "com,ma.mp4", "ta\tb.mp4", "#tag.mp4"):
        write(tmp_path / name, name)
    return tmp_path


def _found(source: VideoSource) -> list[tuple[str, str]]:
    return [(r.name, source.class_names[r.label] if source.class_names else "") for r in source.records]


@pytest.mark.parametrize("path", ["path", "file_name", "Filename", "video"])
@pytest.mark.parametrize("label", ["label", "class"])
@pytest.mark.parametrize("sign", [",", "\t", ";"])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt"])
def test_columns_and_separators(videos: Path, path: str, label: str, sign: str, name: str) -> None:
    rows = [[path, label, "note"], ["a.mp4", "jump high", "1"], ["with space.mp4", "run", ""]]
    source = load_source(write(videos / name, "\ufeff" + "\r\n".join(sign.join(row) for row in rows)))
    assert source.data_format == "csv"
    assert _found(source) == [("a.mp4", "jump high"), ("with space.mp4", "run")]
    assert [record.source for record in source.records] == [f"{name}:2", f"{name}:3"]


@pytest.mark.parametrize("sign", [",", "\t", ";", " ", " ; "])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt"])
def test_separators_without_a_header(videos: Path, sign: str, name: str) -> None:
    source = load_source(write(videos / name, f"a.mp4{sign}0\nwith space.mp4{sign}1\n"))
    assert (source.data_format, _found(source)) == ("path_list", [("a.mp4", "0"), ("with space.mp4", "1")])
    if sign != " ":
        source = load_source(write(videos / name, f"a.mp4{sign}jump high\nb.mp4{sign}run\n"))
        assert _found(source) == [("a.mp4", "jump high"), ("b.mp4", "run")]


def test_names_with_separators(videos: Path) -> None:
    names = ["semi;colon.mp4", "com,ma.mp4", "ta\tb.mp4", "#tag.mp4"]
    for sign in (",", "\t", ";"):
        quoted = [f'"{name}"{sign}jump' if sign in name else f"{name}{sign}jump" for name in names]
        assert [
            r.name for r in load_source(write(videos / "x.csv", f"path{sign}label\n" + "\n".join(quoted))).records
        ] == names
        bare = next(name for name in names if sign in name)
        with pytest.raises(
            SourceError, match=r"x\.csv:2: 3 columns, the header has 2; a \w+ separates: a name that holds"
        ):
            load_source(write(videos / "x.csv", f"path{sign}label\n{bare}{sign}jump\n"))
    # Blanks separate: what else is in the names is theirs.
    source = load_source(write(videos / "x.txt", "semi;colon.mp4 0\ncom,ma.mp4 1\n#tag.mp4 1\n"))
    assert _found(source) == [("semi;colon.mp4", "0"), ("com,ma.mp4", "1"), ("#tag.mp4", "1")]
    for line in ("a.mp4;b.mp4 0", "a.mp4\tb.mp4 0", "a.mp4,b.mp4 0"):
        with pytest.raises(SourceError, match=r"x\.txt:1: .* may be 'a\.mp4' of class 'b\.mp4 0', or a name with what"):
            load_source(write(videos / "x.txt", line))
        # A file of that name settles it, but for the tab, which always separates.
        write(videos / line.rsplit(" ", 1)[0], "x")
        if "\t" not in line:
            assert _found(load_source(write(videos / "x.txt", line))) == [(line.rsplit(" ", 1)[0], "0")]


def test_a_line_of_another_kind_is_named(videos: Path) -> None:
    many = [f"{number}.mp4;run" for number in range(60)]
    with pytest.raises(SourceError, match=r"x\.txt:61: 'b\.mp4 run' has no semicolon, as the lines before it have"):
        load_source(write(videos / "x.txt", "\n".join([*many, "b.mp4 run"])), check_files=False)
    with pytest.raises(SourceError, match=r"x\.txt:1: 1 columns in 'a\.mp4;run', must be two"):
        load_source(write(videos / "x.txt", "a.mp4;run\nb.mp4 run"))
    with pytest.raises(SourceError, match=r"x\.csv:1: path and video may both name the files; rename one"):
        load_source(write(videos / "x.csv", "path,video,label\na.mp4,b.mp4,jump"))


def test_comments(videos: Path) -> None:
    text = "# a list\n#\n\na.mp4 0\n  # b.mp4 is bad\n#tag.mp4 1\n#gone.mp4 1\n#b.mp4 1\n"
    source = load_source(write(videos / "x.txt", text))
    assert [(r.name, r.source) for r in source.records] == [("a.mp4", "x.txt:4"), ("#tag.mp4", "x.txt:6")]
    comment = "2 lines that begin with # and names no file there, taken for a comment: x.txt:7, x.txt:8"
    assert source.warnings == (f"{videos / 'x.txt'}: {comment}",)
    text = '# one "\n#, "two\npath,label,note\n#tag.mp4,jump,"of\n#two"\n#,"x\n# path,label\n#b.mp4,run,\na.mp4,run,\n'
    source = load_source(write(videos / "x.csv", text))
    assert [(r.name, r.source) for r in source.records[1:]] == [("a.mp4", "x.csv:9")]


def test_lists_without_labels(videos: Path) -> None:
    for name, text in {
        "x.txt": "a.mp4\nwith space.mp4\n# note\nsemi;colon.mp4\n",
        "x.csv": "a.mp4\nwith space.mp4\n\nsemi;colon.mp4\n",
        "y.csv": "file_name\na.mp4\nwith space.mp4\nsemi;colon.mp4\n",
        "z.csv": "file_name,text\na.mp4,x\nwith space.mp4,y\nsemi;colon.mp4,\n",
        "x.jsonl": "\n".join(json.dumps({"file_name": n}) for n in ("a.mp4", "with space.mp4", "semi;colon.mp4")),
    }.items():
        path = write(videos / name, text)
        source = load_source(path, needs_labels=False)
        assert [(r.name, r.label) for r in source.records] == [
            ("a.mp4", -1),
            ("with space.mp4", -1),
            ("semi;colon.mp4", -1),
        ]
        assert source.class_names == ()
        assert source.summary() == "3 videos without labels"
        with pytest.raises(SourceError, match=r"must have the columns|has no label"):
            load_source(path)
    path = write(videos / "x.txt", "a.mp4 0\nb.mp4 1\nwith space.mp4\n")
    for needs_labels in (True, False):
        with pytest.raises(SourceError, match=r"x\.txt:3: with space\.mp4 has no label"):
            load_source(path, needs_labels=needs_labels)
    with pytest.raises(SourceError, match="No video has a label; write 'path label' a line"):
        load_source(write(videos / "x.txt", "a.mp4\n"))


@pytest.fixture
def motion(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Folder with train/ and val/ that contain videos directly."""
    for part in ("train", "val"):
        for number in range(4):
            make_video(tmp_path / "data" / part / f"{number}.mp4", 3 + number)
    return tmp_path / "data"


def test_metadata_beside_the_videos(motion: Path, shown: Shown) -> None:
    for part in ("train", "val"):
        rows = [f"{number}.mp4,{('jump', 'run')[number % 2]}" for number in range(4)]
        write(motion / part / "metadata.csv", "\n".join(["file_name,label", *rows]))
    source = load_source(motion / "train")
    assert shown(source)[:2] == [("0.mp4", "jump", [0, 2]), ("1.mp4", "run", [0, 3])]
    assert source.warnings == ()
    assert find_parts(str(motion)) == [motion / "train", motion / "val"]
    train, val = load_train_and_val(str(motion), None, data_root=None, names_file=None, val_frac=0.2)
    assert {len(train.records), len(val.records)} == {4}
    os.replace(motion / "train" / "metadata.csv", motion / "metadata.csv")
    (motion / "val" / "metadata.csv").unlink()
    rows = [f"{part}/{number}.mp4,{part}" for part in ("val", "train") for number in range(3)]
    write(motion / "metadata.csv", "\n".join(["file_name,class", *rows]))
    assert _found(load_source(motion / "train")) == [(f"train/{number}.mp4", "train") for number in range(3)]
    assert len(load_source(motion).records) == 6


def test_metadata_as_json_lines(motion: Path) -> None:
    folder = motion / "train"
    for values, names in (((1, 0, 1), "101"), (("run", "jump", "run"), ("run", "jump", "run"))):
        rows = [json.dumps({"file_name": f"{n}.mp4", "label": v, "extra": [1]}) for n, v in enumerate(values)]
        write(folder / "metadata.jsonl", "\n".join(rows))
        assert _found(load_source(folder)) == [(f"{n}.mp4", name) for n, name in enumerate(names)]
    rows = ['{"file_name": "0.mp4", "label": 1.5}', '{"file_name": "0.mp4"', "[1]", '{"label": 1}', '{"file_name": 1}']
    write(folder / "metadata.jsonl", "\n".join(rows))
    with pytest.raises(SourceError) as caught:
        load_source(folder)
    for line in (
        "metadata.jsonl:1: label is 1.5, must be a class name or index",
        'metadata.jsonl:2: \'{"file_name": "0.mp4"\' is not JSON',
        "metadata.jsonl:3: [1] must be an object",
        "metadata.jsonl:4: {'label': 1} must have a file_name",
        "metadata.jsonl:5: file_name is 1, must be text",
    ):
        assert line in str(caught.value)


def test_metadata_and_class_folders(tmp_path: Path) -> None:
    for name in ("jump/a.mp4", "run/b.mp4"):
        write(tmp_path / name, name)
    write(tmp_path / "metadata.csv", "file_name,caption\njump/a.mp4,one\nrun/b.mp4,two\n")
    assert load_source(tmp_path).data_format == "class_folders"
    write(tmp_path / "metadata.csv", "file_name,label\njump/a.mp4,up\nrun/b.mp4,fast\n")
    source = load_source(tmp_path)
    assert _found(source) == [("jump/a.mp4", "up"), ("run/b.mp4", "fast")]
    assert "labels come from it, not from folders" in source.warnings[0]
    assert load_source(tmp_path, data_format="class_folders").class_names == ("jump", "run")
    write(tmp_path / "metadata.jsonl", "{}")
    with pytest.raises(SourceError, match=r"metadata\.csv and metadata\.jsonl both list its videos; keep one"):
        load_source(tmp_path)


@pytest.mark.parametrize(("start", "end"), [(0.1 + 0.2, 11 / 30), (1e-7, 0.5), (0, 12345.678901234567)])
def test_times_are_taken_as_programs_write_them(videos: Path, start: float, end: float) -> None:
    for name, text in (
        ("x.csv", f"path,label,start,end\na.mp4,jump,{start},{end}\n"),
        ("x.jsonl", json.dumps({"path": "a.mp4", "label": "jump", "start": start, "end": end})),
    ):
        assert load_source(write(videos / name, text)).records[0].span_sec == (start, end)
    for wrong in ("1e5", "1e", "e-1", ".", "nan", "-1", "0x1"):
        with pytest.raises(SourceError, match="needs 0 <= start < end"):
            load_source(write(videos / "x.csv", f"path,label,start,end\na.mp4,jump,0,{wrong}\n"))


def test_check_data_is_no_help_where_labels_contradict(videos: Path) -> None:
    for rows, is_help in (("a.mp4 jump\na.mp4 jump\n", True), ("a.mp4 jump\na.mp4 run\n", False)):
        with pytest.raises(SourceError) as caught:
            load_source(write(videos / "x.txt", rows))
        assert ("videozoo check-data" in str(caught.value)) == is_help


def test_columns_that_contradict_each_other(videos: Path) -> None:
    both = "path,label,start,end,start_frame,end_frame\na.mp4,jump,0,1,0,2\nb.mp4,jump,,,0,2\n"
    with pytest.raises(
        SourceError, match=r"1 problem(.|\n)*x\.csv:2: it has start and end and start_frame and end_frame"
    ):
        load_source(write(videos / "x.csv", both))
    for several in (False, True):
        with pytest.raises(SourceError, match="label and labels may both hold the labels"):
            load_source(write(videos / "x.csv", "path,label,labels\na.mp4,jump,jump|run\n"), multi_label=several)
    with pytest.raises(SourceError, match=r"x\.jsonl:1: .* has a key twice but for case"):
        load_source(write(videos / "x.jsonl", '{"path": "a.mp4", "label": "jump", "Label": "run"}'))
