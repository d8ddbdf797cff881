"""What a check says of classes and sizes."""

import csv
from pathlib import Path

import pytest

from videozoo.data import VideoRecord, VideoSource
from videozoo.data.motions import write_motions
from videozoo.jobs.check import ClassCount, Finding, check_source, count_classes
from videozoo.jobs.check_classes import cheaper_size, class_table, warn_classes


def _counts(*sizes: int) -> list[ClassCount]:
    return [ClassCount(f"c{number}", size, 0) for number, size in enumerate(sizes)]


def test_a_table_of_classes() -> None:
    train = [ClassCount("jump", 12, 1), ClassCount("run fast", 100, 0)]
    assert class_table({"": train}) == [
        "class     videos  broken",
        "jump          12       1",
        "run fast     100       0",
    ]
    val = [ClassCount("jump", 3, 0), ClassCount("run fast", 0, 2)]
    assert class_table({"train": train, "val": val})[1:] == [
        "jump          12       3       1",
        "run fast     100       0       2",
    ]
    assert class_table({"": _counts(3, 4)})[0] == "class  videos"
    assert class_table({"": []}) == []


def test_a_long_table_shows_the_largest_and_the_smallest() -> None:
    lines = class_table({"": _counts(*range(100))})
    assert [line.split()[0] for line in lines[1:9]] == [f"c{number}" for number in range(99, 91, -1)]
    assert lines[9] == "... and 84 classes between"
    assert [line.split()[0] for line in lines[10:]] == [f"c{number}" for number in range(7, -1, -1)]


def test_few_and_uneven_classes() -> None:
    assert warn_classes(_counts(5, 49, 7)) == []
    assert warn_classes(_counts(5, 50)) == [
        "uneven classes: c1 has 50 videos, c0 5; finetune has --balanced-sampling and --class-weights balanced"
    ]
    assert warn_classes(_counts(9, 4, 0)) == ["2 classes have fewer than 5 videos that can be read: c2 (0), c1 (4)"]
    assert warn_classes([]) == []


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(64, 64)] * 9, "--img-size 64 (frames have short sides of 64 pixels): 1/12 of the GMACs of 224, to which"),
        ([(64, 64)] * 8 + [(1920, 1080)], "--img-size 64 "),
        ([(64, 64)] * 7 + [(1920, 1080)] * 3, ""),
        ([(176, 144)] * 4, "--img-size 144 (frames have short sides of 144 pixels): 1/2.4 of the GMACs of 224"),
        ([(20, 30)], "--img-size 32 "),
        ([(320, 240)] * 4, ""),
        ([(1920, 1080), (1080, 1920)] * 4, "videozoo prepare --short-side 256: 1/18 of the pixels to decode"),
    ],
)
def test_a_cheaper_size(sizes: list[tuple[int, int]], said: str) -> None:
    found = cheaper_size([Finding(9, width=w, height=h) for w, h in sizes] + [Finding(error="broken")])
    assert (found[0] if found else "").startswith(said)
    assert bool(found) == bool(said)


def test_counts_are_written(tmp_path: Path) -> None:
    videos = write_motions(tmp_path / "m", clips_per_class=1, val_clips_per_class=1, size=32, num_frames=4)
    good = next((videos / "train").rglob("*.mp4"))
    records = (
        VideoRecord(good, 0, ""),
        VideoRecord(tmp_path / "gone.mp4", 0, ""),
        VideoRecord(good.parent / ".", 1, ""),
    )
    source = VideoSource(records, ("a, b", "c", "d"))
    findings = check_source(source, tmp_path / "out")
    assert count_classes(source, findings) == [ClassCount("a, b", 1, 1), ClassCount("c", 0, 1), ClassCount("d", 0, 0)]
    rows = list(csv.reader((tmp_path / "out" / "classes.csv").open()))
    assert rows == [["class", "videos", "broken"], ["a, b", "1", "1"], ["c", "0", "1"], ["d", "0", "0"]]
