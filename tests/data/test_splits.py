"""Tests that a film is in one split only."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import write

from videozoo.data import SourceError, VideoRecord, VideoSource, check_splits, load_source, split_by_hash


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Ten files f0.mp4 to f9.mp4, and folders g0 to g9 of 40 images."""
    for number in range(10):
        write(tmp_path / f"f{number}.mp4", str(number))
    return tmp_path


def _csv_of_seconds(folder: Path) -> Path:
    rows = [f"f{film}.mp4,{('jump', 'run')[film % 2]},{part},{part + 1}" for film in range(10) for part in range(4)]
    return write(folder / "list.csv", "\n".join(["path,label,start,end", *rows]))


def _csv_of_frames(folder: Path) -> Path:
    rows = [f"f{film}.mp4,{part % 2},{9 * part},{9 * part + 9}" for film in range(10) for part in range(4)]
    return write(folder / "list.csv", "\n".join(["path,label,start_frame,end_frame", *rows]))


def _offset_list(folder: Path) -> Path:
    for film in range(10):
        for number in range(1, 41):
            write(folder / f"g{film}" / f"{number:03d}.jpg", "x")
    rows = [f"g{film} {10 * part} 10 {film % 2}" for film in range(10) for part in range(4)]
    return write(folder / "list.txt", "\n".join(rows))


def _kinetics_clips(folder: Path) -> Path:
    rows = [f"run,a-id_{film},{part},{part + 10},train" for film in range(10) for part in (0, 10, 20)]
    rows += [f"jump,a-id_{film},30,40,train" for film in range(10)]
    for row in rows:
        label, name, start, end, _ = row.split(",")
        write(folder / label / f"{name}_{int(start):06d}_{int(end):06d}.mp4", row)
    return write(folder / "list.csv", "\n".join(["label,youtube_id,time_start,time_end,split", *rows]))


def _clips_in_class_folders(folder: Path) -> Path:
    for film in range(10):
        for part in range(4):
            label = ("jump", "run")[part % 2]
            write(folder / "videos" / label / f"-_abcdefgh{film}_{part:06d}_{part + 10:06d}.mp4", f"{film}{part}")
    return folder / "videos"


def _clips_of_ucf101(folder: Path) -> Path:
    for film in range(10):
        for part in range(4):
            name = ("Jump", "Run")[film % 2]
            write(folder / "videos" / name / f"v_{name}_g{film:02d}_c{part:02d}.avi", f"{film}{part}")
    return folder / "videos"


def _links(folder: Path) -> Path:
    for film in range(10):
        for label, link in (("jump", os.link), ("run", os.symlink)):
            (folder / "videos" / label).mkdir(parents=True, exist_ok=True)
            link(folder / f"f{film}.mp4", folder / "videos" / label / f"{label} {film}.mp4")
    return folder / "videos"


def _film_of(record: VideoRecord) -> str:
    return record.path.resolve().stem.removeprefix("jump ").split("_00")[0].split("_c0")[0]


LISTS = (_csv_of_seconds, _csv_of_frames, _offset_list)
FOLDERS = (_kinetics_clips, _clips_in_class_folders, _clips_of_ucf101, _links)


@pytest.mark.parametrize("make", [*LISTS, *FOLDERS])
def test_a_film_is_on_one_side(films: Path, make: object) -> None:
    source = load_source(make(films))  # type: ignore[operator]
    train, val = split_by_hash(source, 0.3)
    inodes = [{(os.stat(r.path).st_ino, _film_of(r)) for r in side.records} for side in (train, val)]
    assert not {ino for ino, _ in inodes[0]} & {ino for ino, _ in inodes[1]}
    if make is not _links:
        assert not {name for _, name in inodes[0]} & {name for _, name in inodes[1]}
    assert len(train.records) + len(val.records) == len(source.records)
    assert 0.2 < len(val.records) / len(source.records) < 0.45
    for side in (train, val):
        assert {record.label for record in side.records} == {0, 1}
    assert check_splits(train, val) == []
    mixed = list(source.records)
    random.Random(0).shuffle(mixed)
    again = split_by_hash(replace(source, records=tuple(mixed)), 0.3)[1]
    assert {(r.name, r.span_sec, r.frame_range) for r in again.records} == {
        (r.name, r.span_sec, r.frame_range) for r in val.records
    }


def test_a_film_with_all_videos_cannot_be_parted(films: Path) -> None:
    rows = [f"f0.mp4,{part % 2},{part},{part + 1}" for part in range(8)]
    path = write(films / "list.csv", "\n".join(["path,label,start,end", *rows]))
    with pytest.raises(SourceError, match="no class has videos of two films"):
        split_by_hash(load_source(path))
    write(path, "\n".join(["path,label,start,end", *rows, "f1.mp4,1,0,5", "f2.mp4,1,0,5"]))
    train, val = split_by_hash(load_source(path))
    assert {record.path.name for record in val.records} < {"f1.mp4", "f2.mp4"}
    assert {record.label for record in train.records} == {0, 1}


def test_names_that_only_look_like_cuts_stay_apart() -> None:
    records = tuple(
        VideoRecord(Path(f"/x/clip_{k:06d}_000001.mp4"), 0, "", f"clip_{k:06d}_000001.mp4") for k in range(9)
    )
    assert len(split_by_hash(VideoSource(records, ("a",)), 0.34)[1].records) == 3


def test_films_in_both_splits_are_reported(films: Path) -> None:
    _kinetics_clips(films)
    header = "label,youtube_id,time_start,time_end\n"
    train = load_source(write(films / "train.csv", header + "run,a-id_1,0,10\nrun,a-id_2,0,10\n"))
    val = load_source(write(films / "val.csv", header + "run,a-id_1,10,20\nrun,a-id_3,0,10\n"))
    assert check_splits(train, val) == [
        "val.csv:2: run/a-id_1_000010_000020.mp4 is of a film of which another part is in training (train.csv:2)"
    ]
