"""Tests of lists of other projects and of class folders, each read down to a clip."""

from pathlib import Path

import pytest
import torch
from helpers import write
from video_fixtures import MakeFrames, MakeVideo, Shown

from videozoo.data import (
    SourceError,
    load_source,
    open_record,
)


def test_video_lists_of_mmaction2_and_slowfast(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    make_video(tmp_path / "some" / "path" / "000.mp4", 5)
    make_video(tmp_path / "some" / "path" / "001.mp4", 6)
    text = "some/path/000.mp4 1\nsome/path/001.mp4 0\n"
    write(tmp_path / "label_map.txt", "abseiling\nair drumming\n")
    for name in ("kinetics400_train_list_videos.txt", "train.csv"):
        source = load_source(write(tmp_path / name, text))
        assert source.data_format == "path_list"
        assert shown(source) == [
            ("some/path/000.mp4", "air drumming", [0, 4]),
            ("some/path/001.mp4", "abseiling", [0, 5]),
        ]


def test_rawframe_lists_of_mmaction2_and_lists_of_tsm(tmp_path: Path, make_frames: MakeFrames, shown: Shown) -> None:
    make_frames(tmp_path / "some" / "directory-1", range(8), "img_{:05d}.jpg")
    make_frames(tmp_path / "some" / "directory 2", range(10, 14), "img_{:05d}.jpg")
    # Optical flow beside the frames, which comes first in natural order.
    make_frames(tmp_path / "some" / "directory 2", range(50, 54), "flow_x_{:05d}.jpg")
    make_frames(tmp_path / "some" / "directory 2", range(50, 54), "flow_y_{:05d}.jpg")
    write(tmp_path / "category.txt", "Holding something\nTurning something")
    path = write(tmp_path / "train_videofolder.txt", "some/directory-1 5 1\nsome/directory 2 4 0\n")
    source = load_source(path)
    assert source.data_format == "frame_list"
    assert shown(source) == [
        ("some/directory-1", "Turning something", [0, 4]),
        ("some/directory 2", "Holding something", [10, 13]),
    ]
    write(path, "some/directory-1 9 1\nsome/directory 2 0 0\nsome/gone 4 0\nsome/directory-1 x 1\n")
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert "train_videofolder.txt:1: frames 9 would be frame 9 of the 8 in some/directory-1" in str(caught.value)
    assert "train_videofolder.txt:2: frames 0 would be no frame of some/directory 2" in str(caught.value)
    assert "train_videofolder.txt:3: no such file" in str(caught.value)
    assert "train_videofolder.txt:4: 'some/directory-1 x 1' must be 3 columns: path, frames, label" in str(caught.value)


def test_lists_with_an_offset_or_a_range(tmp_path: Path, make_frames: MakeFrames, shown: Shown) -> None:
    make_frames(tmp_path / "directory-1", range(10), "img_{:05d}.jpg")
    offset = write(tmp_path / "offset.txt", "directory-1 2 5 0\ndirectory-1 7 3 1\n")
    source = load_source(offset)
    assert source.data_format == "offset_list"
    assert [(label, numbers) for _, label, numbers in shown(source)] == [("0", [2, 6]), ("1", [7, 9])]
    ranges = write(tmp_path / "ranges.txt", "directory-1 1 5 0\ndirectory-1 6 10 1\n")
    source = load_source(ranges)
    assert source.data_format == "range_list"
    assert [(label, numbers) for _, label, numbers in shown(source)] == [("0", [0, 4]), ("1", [5, 9])]
    both = write(tmp_path / "both.txt", "directory-1 1 5 0\ndirectory-1 2 5 1\n")
    with pytest.raises(
        SourceError, match=r"four columns may be path offset frames label \(offset_list\) or path start"
    ):
        load_source(both)
    ranged = load_source(both, data_format="range_list")
    assert [record.frame_range for record in ranged.records] == [(0, 5), (1, 5)]


def test_csv_with_parts_of_files(tmp_path: Path, make_video: MakeVideo, shown: Shown) -> None:
    make_video(tmp_path / "film.mp4", 60)
    path = write(
        tmp_path / "train.csv",
        "path,label,start,end,start_frame,end_frame\nfilm.mp4,jump,0.4,1.2,,\nfilm.mp4,run,,,30,33\nfilm.mp4,run,,,,\n",
    )
    source = load_source(path)
    assert source.data_format == "csv"
    assert [numbers for _, _, numbers in shown(source)] == [[10, 29], [30, 32], [0, 59]]
    write(path, "path,label,start,end\nfilm.mp4,jump,2,1\nfilm.mp4,jump,1,\nfilm.mp4,jump,a,b\nfilm.mp4,jump,0,1\n")
    with pytest.raises(SourceError) as caught:
        load_source(path)
    assert str(caught.value).count("needs 0 <= start < end") == 3
    assert "train.csv:2: start is '2' and end '1'" in str(caught.value)
    write(path, "path,label,start,end\nfilm.mp4,jump,0,1\nfilm.mp4,jump,0,1\n")
    with pytest.raises(SourceError, match=r"train\.csv:3: film\.mp4 is listed again \(first at train\.csv:2\)"):
        load_source(path)


def test_class_folders_give_a_clip(
    tmp_path: Path, make_frames: MakeFrames, make_video: MakeVideo, shown: Shown
) -> None:
    make_video(tmp_path / "jump" / "a.mp4", 5)
    make_frames(tmp_path / "run" / "b", range(4))
    assert shown(load_source(tmp_path)) == [("jump/a.mp4", "jump", [0, 4]), ("run/b", "run", [0, 3])]
    assert torch.equal(*(open_record(r).read([0])[0, 0, 0, :8] for r in load_source(tmp_path).records))
