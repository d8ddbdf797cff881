"""check_source: what real files hold, broken ones named, nothing decoded twice, a cleaned list of the same classes."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from videozoo.data import VideoRecord, VideoSource, load_source
from videozoo.data.motions import write_motions
from videozoo.jobs import check as check_module
from videozoo.jobs.check import Finding, check_source, check_video, summary
from videozoo.jobs.errors import JobError
from videozoo.jobs.write_list import write_list


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of two short videos each."""
    return write_motions(
        tmp_path_factory.mktemp("check"), clips_per_class=2, val_clips_per_class=1, size=32, num_frames=6
    )


def copy_list(videos: Path, folder: Path) -> Path:
    """A list of copies of the videos, of which the second is no video and the third is not there."""
    lines = []
    for number, path in enumerate(sorted((videos / "train").rglob("*.mp4"))):
        name = f"{number}.mp4"
        if number != 2:
            (folder / name).write_bytes(b"no video at all" if number == 1 else path.read_bytes())
        lines.append(f"{name} {path.parent.name}\n")
    (folder / "list.txt").write_text("".join(lines))
    return folder / "list.txt"


def test_real_files_hold_what_the_manifest_says(shared_data: Path) -> None:
    rows = list(csv.DictReader((shared_data / "clips" / "manifest.csv").open()))
    rows = [row for row in rows if int(row["bytes"]) < 60_000 or row["rotation"] == "-90" or "flipped" in row["note"]]
    assert len(rows) >= 10
    for row in rows:
        finding = check_video(VideoRecord(shared_data / "clips" / row["file"], 0, ""))
        if not row["frames_decoded"]:
            assert finding.error, row["file"]
            continue
        size = (int(row["width"]), int(row["height"]))
        assert finding.frames == int(row["frames_decoded"]), row["file"]
        assert (finding.width, finding.height) == (size[::-1] if row["rotation"] == "-90" else size), row["file"]
        assert not finding.error
        assert finding.fps == pytest.approx(float(row["fps"]), rel=0.01)
        is_damaged = "60" in row["note"] and "decode" in row["note"]
        assert bool(finding.note) == is_damaged, row["file"]


def test_a_report_and_a_cleaned_list(videos: Path, tmp_path: Path) -> None:
    source = load_source(copy_list(videos, tmp_path), check_files=False)
    findings = check_source(source, tmp_path / "out", workers=2)
    assert [bool(finding.error) for finding in findings] == [False, True, True, *[False] * 9]
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    assert [row["path"] for row in rows] == [str(tmp_path / f"{n}.mp4") for n in range(12)]
    assert list(rows[0])[:7] == ["path", "frames", "fps", "width", "height", "seconds", "error"]
    assert rows[2]["error"] == "no such file or folder"
    assert rows[0]["width"] == rows[0]["height"] == "32"
    assert int(rows[0]["frames"]) == findings[0].frames > 0
    assert float(rows[0]["seconds"]) == pytest.approx(findings[0].frames / float(rows[0]["fps"]), abs=0.002)
    clean = load_source(tmp_path / "out" / "clean.csv")
    assert clean.class_names == source.class_names
    assert [(r.path, r.label) for r in clean.records] == [
        (r.path, r.label) for n, r in enumerate(source.records) if n not in (1, 2)
    ]
    told = dict(summary(findings))
    assert told["videos"] == "12"
    assert told["broken"] == "2"
    assert told["sizes"] == "32x32 (10)"


def noting(log: Path) -> Callable[[VideoRecord], Finding]:
    """check_video, with a note of each call, from whichever process."""

    def check(record: VideoRecord) -> Finding:
        with open(log, "a") as file:
            file.write(f"{record.path.name}\n")
        return check_video(record)

    return check


def test_nothing_is_decoded_twice_unless_it_changed(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.txt"
    monkeypatch.setattr(check_module, "check_video", noting(log))
    source = load_source(copy_list(videos, tmp_path), check_files=False)

    class Stop(BaseException):
        pass

    def stop(done: int, _broken: int) -> None:
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        check_source(source, tmp_path / "out", workers=1, on_progress=stop)
    assert len(log.read_text().split()) in (5, 6)
    assert not (tmp_path / "out" / "report.csv").exists()
    log.write_text("")
    findings = check_source(source, tmp_path / "out", workers=2)
    assert sorted(log.read_text().split(), key=lambda name: int(name[:-4])) == [f"{n}.mp4" for n in range(5, 12)]
    log.write_text("")
    assert check_source(source, tmp_path / "out", workers=2) == findings
    assert log.read_text() == ""
    os.utime(tmp_path / "4.mp4", ns=(1, 1))
    (tmp_path / "2.mp4").write_bytes((tmp_path / "3.mp4").read_bytes())
    again = check_source(source, tmp_path / "out", workers=2)
    assert sorted(log.read_text().split()) == ["2.mp4", "4.mp4"]
    assert again[2].frames == findings[3].frames


def test_a_file_that_kills_or_holds_up_its_process_is_broken(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    def check(record: VideoRecord) -> Finding:
        if record.path.name == "4.mp4":
            os.kill(os.getpid(), signal.SIGKILL)
        while record.path.name == "6.mp4":
            pass
        return Finding(frames=1)

    monkeypatch.setattr(check_module, "check_video", check)
    source = load_source(copy_list(videos, tmp_path), check_files=False)
    findings = check_source(source, tmp_path / "out", workers=2, limit_sec=1)
    assert {n: f.error for n, f in enumerate(findings) if f.error} == {
        4: "the process that read it died (SIGKILL)",
        6: "it took more than 1 s of processor time",
    }
    assert len(load_source(tmp_path / "out" / "clean.csv", check_files=False).records) == 10


def test_parts_of_files_are_checked_and_listed_as_parts(videos: Path, tmp_path: Path) -> None:
    clip = next((videos / "train").rglob("*.mp4"))
    whole = check_video(VideoRecord(clip, 0, ""))
    (tmp_path / "list.csv").write_text(
        "path,label,start,end,start_frame,end_frame\n"
        f"{clip},up,,,,\n{clip},down,0.0,{2.5 / whole.fps},,\n{clip},up,,,1,4\n{clip},up,900,901,,\n{clip},up,,,2,900\n"
    )
    source = load_source(tmp_path / "list.csv")
    findings = check_source(source, tmp_path / "out")
    assert [finding.frames for finding in findings[:3]] == [whole.frames, 3, 3]
    assert findings[3].error == "no frame of it decodes in its span 900 to 901 s"
    assert findings[4].error == f"its frame range 2 to 900 goes beyond its {whole.frames} frames"
    clean = load_source(tmp_path / "out" / "clean.csv")
    parts = [(r.path, r.label, r.span_sec, r.frame_range) for r in source.records]
    assert [(r.path, r.label, r.span_sec, r.frame_range) for r in clean.records] == parts[:3]


def test_folders_of_images(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "bad" / "1.png").write_bytes(b"no image")
    good, bad = (check_video(VideoRecord(tmp_path / name, 0, "")) for name in ("good", "bad"))
    assert (good.frames, good.width, good.height, good.fps, good.error) == (3, 20, 10, 0.0, "")
    assert "image 1.png cannot be read" in bad.error


@pytest.mark.parametrize("names", [("b", "a"), ("only", "gone"), ("0", "1"), ("zwei, drei", 'quo"te')])
def test_written_lists_give_the_same_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("x.mp4", "y, z.mp4"):
        (tmp_path / name).write_bytes(b"x")
    records = [VideoRecord(tmp_path / "x.mp4", 0, ""), VideoRecord(tmp_path / "y, z.mp4", 0, "")]
    if names[1] != "gone":
        records[1] = VideoRecord(tmp_path / "y, z.mp4", 1, "")
    write_list(tmp_path / "list.csv", records, names)
    source = load_source(tmp_path / "list.csv")
    assert source.class_names == names
    assert [record.label for record in source.records] == [record.label for record in records]
    assert [record.name for record in source.records] == ["x.mp4", "y, z.mp4"]


def test_members_of_shards_are_in_the_report_alone(videos: Path, tmp_path: Path) -> None:
    clip = next((videos / "train").rglob("*.mp4")).read_bytes()
    (tmp_path / "all.bin").write_bytes(b"?" * 10 + clip + b"?" * 10)
    records = (
        VideoRecord(tmp_path / "all.bin", 0, "", "all.tar/a.mp4", member=(10, len(clip))),
        VideoRecord(tmp_path / "all.bin", 0, "", "all.tar/b.mp4", member=(4, 6)),
    )
    findings = check_source(VideoSource(records, ("a",)), tmp_path / "out")
    assert findings[0].frames > 0
    assert findings[1].error
    rows = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    assert [row["path"] for row in rows] == ["all.tar/a.mp4", "all.tar/b.mp4"]
    assert not (tmp_path / "out" / "clean.csv").exists()


def test_a_folder_with_other_things_is_refused(videos: Path) -> None:
    with pytest.raises(JobError, match="holds other files"):
        check_source(load_source(videos / "train"), videos)
