"""Tests of file names that are not UTF-8, line ends and the home folder."""

import os
from pathlib import Path

import pytest
from helpers import write

from videozoo.data import SourceError, load_source, split_by_hash
from videozoo.jobs.check import check_source
from videozoo.jobs.prepare import prepare_source

NAME = b"caf\xe9 \xff.mp4"


@pytest.fixture
def videos(tmp_path: Path, make_video: object) -> Path:
    """Two class folders with two videos each, one of them with a name in Latin-1."""
    for label in ("jump", "run"):
        path = make_video(tmp_path / "videos" / label / "a.mp4", 5)  # type: ignore[operator]
        with open(os.path.join(os.fsencode(path.parent), NAME), "wb") as file:
            file.write(path.read_bytes())
    return tmp_path / "videos"


@pytest.mark.parametrize("comma", [b" ", b",", b"\t"])
def test_lists_may_hold_names_of_any_bytes(videos: Path, tmp_path: Path, comma: bytes) -> None:
    rows = [label + b"/" + NAME + comma + label for label in (b"jump", b"run")]
    path = tmp_path / ("x.csv" if comma == b"," else "x.txt")
    path.write_bytes(b"\n".join([b"path,label"] * (comma == b",") + rows))
    source = load_source(path, data_root=videos)
    assert [os.fsencode(record.path.name) for record in source.records] == [NAME, NAME]


def test_written_lists_are_read_back(videos: Path, tmp_path: Path) -> None:
    source = load_source(videos)
    findings = check_source(source, tmp_path / "check", workers=1)
    assert [finding.error for finding in findings] == [""] * 4
    clean = load_source(tmp_path / "check" / "clean.csv")
    assert [record.path for record in clean.records] == [record.path for record in source.records]
    assert check_source(clean, tmp_path / "check", workers=1) == findings
    train, val = split_by_hash(clean, 0.5)
    assert (len(train.records), len(val.records)) == (2, 2)
    for shard_bytes in (None, 10**6):
        out = tmp_path / f"small{shard_bytes}"
        prepared = prepare_source(clean, out, short_side=24, shard_bytes=shard_bytes, workers=1)
        assert prepared.num_videos == 4
        assert len(load_source(prepared.written[0]).records) == 4


@pytest.mark.parametrize("text", [b"a.mp4 caf\xe9\n", b"a.mp4\tcaf\xe9\n"])
def test_labels_must_be_text(tmp_path: Path, text: bytes) -> None:
    write(tmp_path / "a.mp4", "x")
    (tmp_path / "x.txt").write_bytes(text)
    with pytest.raises(SourceError, match="is no class name: it is not UTF-8 text"):
        load_source(tmp_path / "x.txt")


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "k.csv", "s.csv", "frames.txt"])
@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lists_of_old_macs(tmp_path: Path, make_frames: object, name: str, end: str) -> None:
    rows = {
        "x.txt": ["a.mp4 0", "b.mp4 1"],
        "x.csv": ["path,label", "a.mp4,0", "b.mp4,1"],
        "k.csv": ["label,youtube_id,time_start,time_end", "run,a,0,10", "walk,b,0,10"],
        "s.csv": ["1;run", "2;walk"],
        "frames.txt": ["1 3 0", "2 3 1"],
    }[name]
    for file in ("a.mp4", "b.mp4"):
        write(tmp_path / file, "x")
    for folder in ("1", "2"):
        make_frames(tmp_path / folder, range(3))  # type: ignore[operator]
    source = load_source(write(tmp_path / name, end.join([*rows, ""])))
    assert [record.label for record in source.records] == [0, 1]
    assert source.records[1].source == f"{name}:{len(rows)}"


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("jump", "run"):
        write(tmp_path / "videos" / label / "a.mp4", "x")
    write(tmp_path / "x.csv", "path,label\njump/a.mp4,jump\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load_source("~/videos").records) == 2
    assert len(load_source("~/x.csv", data_root="~/videos").records) == 1
    with pytest.raises(SourceError, match="no such file or folder"):
        load_source("~nobody-of-this-name/videos")
