"""Tests that several labels per video are refused in single-label lists."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import write

from videozoo.data import SourceError, load_source

NOT_SUPPORTED = "several labels a video are for multi-label models only"


@pytest.fixture
def clips(tmp_path: Path, make_video: Callable[..., Path], make_frames: Callable[..., None]) -> Path:
    """Files c1.mp4 to c4.mp4 of 12 frames, folders d1 to d4 of 12 images."""
    first = make_video(tmp_path / "c1.mp4", 12)
    for number in range(1, 5):
        (tmp_path / f"c{number}.mp4").write_bytes(first.read_bytes())
        make_frames(tmp_path / f"d{number}", range(12))
    return tmp_path


@pytest.mark.parametrize(
    "rows",
    [
        ["c1.mp4 0 1", "c2.mp4 1 2", "c3.mp4 2 1", "c4.mp4 1 3"],
        ["c1.mp4 1 2", "c2.mp4 2 3"],
        ["c1.mp4 0", "c2.mp4 1 2", "c3.mp4 1"],
        ["c1.mp4 0 1 2", "c2.mp4 2 3 1"],
        ["c1.mp4 0 1 2 3", "c2.mp4 4 1 2 3"],
        ["c1.mp4 12 0 1 2 3"],
        ["c1.mp4\t0\t1", "c2.mp4\t1\t2"],
        ["c1.mp4\tjump\trun", "c2.mp4\tjump\trun"],
        ["c1.mp4 0,1", "c2.mp4 1"],
        ["c1.mp4 jump run", "c2.mp4 jump walk"],
        ["c1.mp4 jump|run", "c2.mp4 run|walk"],
        ["d1 12 1 3 5", "d2 12 2 3 5"],
        ["d1 12 1 3", "d2 12 2 3"],
        ["d1 12 1", "d2 12 2 3"],
        ["d1 0 1", "d2 1 2"],
        ["d1 1 2", "d2 2 3"],
        ["c1.mp4 0", "c2.mp4 1", "c1.mp4 1"],
    ],
)
def test_text_lists_with_several_labels(clips: Path, rows: list[str]) -> None:
    for data_format in (None, "path_list", "frame_list"):
        with pytest.raises(SourceError) as caught:
            load_source(write(clips / "list.txt", "\n".join(rows)), data_format=data_format)
        if data_format is None:
            assert NOT_SUPPORTED in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    [
        ["0 1", "1"],
        ["0;1", "2;3"],
        ["[0, 1]", "[2]"],
        ["jump,run", "jump"],
        ["jump|run", "run"],
        ["jump;run", "run;walk"],
        ["jump,run", "run,walk"],
    ],
)
def test_csv_with_several_labels(clips: Path, labels: list[str]) -> None:
    rows = [f'c{number}.mp4,"{label}"' for number, label in enumerate(labels, 1)]
    with pytest.raises(SourceError, match=NOT_SUPPORTED):
        load_source(write(clips / "list.csv", "\n".join(["path,label", *rows])))


def test_a_second_column_of_labels_is_refused(clips: Path) -> None:
    with pytest.raises(SourceError, match=NOT_SUPPORTED):
        load_source(write(clips / "list.csv", "path,label,label2\nc1.mp4,jump,run\nc2.mp4,run,\n"))


def test_names_with_commas_and_numbers_are_one_label(clips: Path) -> None:
    names = ["Putting something, and something", "jump, high", "cut | paste", "10-20", "1.5", "run; walk", "high"]
    names += ["10,000 steps", "10,000 jumps"]
    rows = [f'c{1 + number % 4}.mp4,"{label}",{number},{number + 1}' for number, label in enumerate(names)]
    source = load_source(write(clips / "list.csv", "\n".join(["path,label,start,end", *rows])))
    assert sorted(source.class_names) == sorted(names)


def test_numbers_of_frames_are_held_against_the_videos(clips: Path) -> None:
    assert len(load_source(write(clips / "list.txt", "c1.mp4 12 0\nc2.mp4 10 1\nd1 12 0\nd2 8 1")).records) == 4
    with pytest.raises(SourceError) as caught:
        load_source(
            write(clips / "list.txt", "c1.mp4 12 0\nc2.mp4 0 1\nc3.mp4 3 1\nc4.mp4 30 1\nd1 5 1\nd2 13 1\nd3 0 1")
        )
    text = str(caught.value)
    for line in (
        "list.txt:2: frames 0 are no video",
        "list.txt:3: frames 3, but c3.mp4 has 12",
        "list.txt:4: frames 30, but c4.mp4 has 12",
        "list.txt:5: frames 5, but d1 has 12",
        "list.txt:6: frames 13 would be frame 13 of the 12 in d2",
        "list.txt:7: frames 0 would be no frame of d3",
    ):
        assert line in text
