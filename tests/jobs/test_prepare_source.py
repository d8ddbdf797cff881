"""prepare_source: the same frames in the same time, small, near at hand; names that stay inside; resumed, in shards."""

import contextlib
import csv
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from videozoo.data import VideoError, VideoReader, VideoRecord, VideoSource, load_source, open_record
from videozoo.data.motions import write_motions
from videozoo.jobs import prepare as prepare_module
from videozoo.jobs import reencode as reencode_module
from videozoo.jobs.errors import JobError
from videozoo.jobs.prepare import output_names, prepare_source
from videozoo.jobs.reencode import reencode


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of one short video each, 48x48."""
    root = write_motions(
        tmp_path_factory.mktemp("prepare"), clips_per_class=1, val_clips_per_class=1, size=48, num_frames=16
    )
    return root / "train"


def facts(path: Path) -> dict[str, Any]:
    """What a file holds: seconds of its frames, keyframes, size, streams."""
    with av.open(str(path)) as container:
        frames = []
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):  # damage, in some of the sources
                frames += packet.decode()
        stream = container.streams.video[0]
        return {
            "seconds": [float(frame.pts * stream.time_base) for frame in frames],
            "keyframes": [n for n, frame in enumerate(frames) if frame.key_frame],
            "size": (frames[0].width, frames[0].height),
            "streams": [stream.type for stream in container.streams],
            "fps": float(stream.average_rate),
        }


def real(shared_data: Path, name: str) -> VideoRecord:
    return VideoRecord(shared_data / "clips" / name, 0, "")


def colors_differ_by(one: Path, other: Path) -> float:
    """Mean difference of a frame in the middle, of 255, at a small size."""
    images = []
    for path in (one, other):
        with VideoReader(path) as reader:
            frame = reader.read([reader.num_frames // 2])[0].permute(1, 2, 0).numpy()
        images.append(np.asarray(Image.fromarray(frame).resize((32, 32), Image.Resampling.BOX), float))
    return float(np.abs(images[0] - images[1]).mean())


@pytest.mark.parametrize(
    ("name", "num_frames", "size"),
    [
        ("PHP-FFMpeg/portrait.MOV", 62, (96, 170)),  # turned by 90 degrees, with sound
        ("derived_from_mmaction2_demo/h264_vfr.mp4", 60, (128, 96)),  # an uneven clock
        ("derived_from_mmaction2_demo/bitflips.mp4", 59, (128, 96)),  # a frame that does not decode
        ("derived_from_mmaction2_demo/truncated_faststart.mp4", 27, (128, 96)),
        ("torchcodec/bt709_full_range.mp4", 30, (170, 96)),  # other colors
        ("imageio-binaries/newtonscradle.gif", 36, (128, 96)),
    ],
)
def test_the_same_frames_in_the_same_time(
    name: str, num_frames: int, size: tuple[int, int], shared_data: Path, tmp_path: Path
) -> None:
    record, target = real(shared_data, name), tmp_path / "small.mp4"
    count, num_bytes = reencode(record, target, short_side=96, gop=12)
    found, before = facts(target), facts(record.path)
    assert count == num_frames == len(found["seconds"]) == len(before["seconds"])
    assert num_bytes == target.stat().st_size
    assert found["size"] == size
    assert found["streams"] == ["video"]
    np.testing.assert_allclose(found["seconds"], np.array(before["seconds"]) - before["seconds"][0], atol=2e-3)
    assert found["keyframes"][0] == 0
    assert max(np.diff([*found["keyframes"], count])) <= 12
    assert colors_differ_by(record.path, target) < 4
    with VideoReader(target) as reader:
        assert reader.num_frames == num_frames
        assert reader.read(list(range(num_frames))).shape == (num_frames, 3, size[1], size[0])
    assert [path.name for path in tmp_path.iterdir()] == ["small.mp4"]


@pytest.mark.slow
def test_every_real_clip_keeps_its_frames(shared_data: Path, tmp_path: Path) -> None:
    num_broken = 0
    for row in csv.DictReader((shared_data / "clips" / "manifest.csv").open()):
        record = real(shared_data, row["file"])
        if not row["frames_decoded"]:
            with pytest.raises(VideoError):
                reencode(record, tmp_path / "x.mp4", short_side=64, gop=12)
            num_broken += 1
            continue
        count, _ = reencode(record, tmp_path / "x.mp4", short_side=64, gop=12)
        found = facts(tmp_path / "x.mp4")
        assert count == int(row["frames_decoded"]) == len(found["seconds"]), row["file"]
        assert min(found["size"]) == 64, row["file"]
        # A frame of noise in av1_video.mkv is what differs most.
        assert colors_differ_by(record.path, tmp_path / "x.mp4") < 12, row["file"]
    assert num_broken == 3


def test_small_frames_stay_and_odd_ones_become_even(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(5):
        Image.new("RGB", (31, 21), (40 * number, 0, 0)).save(tmp_path / "frames" / f"{number}.png")
    count, _ = reencode(VideoRecord(tmp_path / "frames", 0, ""), tmp_path / "x.mp4", short_side=256, gop=2)
    found = facts(tmp_path / "x.mp4")
    assert (count, found["size"], found["fps"]) == (5, (30, 20), 25)
    assert max(np.diff(found["keyframes"])) <= 2


def test_without_h264_it_is_mpeg4(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencode_module, "encoder_name", lambda: "mpeg4")
    clip = next(videos.rglob("*.mp4"))
    count, _ = reencode(VideoRecord(clip, 0, ""), tmp_path / "x.mp4", short_side=48, gop=4)
    found, before = facts(tmp_path / "x.mp4"), facts(clip)
    assert count == len(found["seconds"]) == len(before["seconds"])
    np.testing.assert_allclose(found["seconds"], before["seconds"], atol=2e-3)
    assert max(np.diff([*found["keyframes"], count])) <= 4
    assert colors_differ_by(clip, tmp_path / "x.mp4") < 8


def test_parts_are_cut_out(videos: Path, tmp_path: Path) -> None:
    clip = next(videos.rglob("*.mp4"))
    before = facts(clip)
    seconds, total = before["seconds"], len(before["seconds"])
    data = clip.read_bytes()
    (tmp_path / "tar").write_bytes(b"?" * 512 + data + b"?" * 512)
    parts = [
        (VideoRecord(clip, 0, "", span_sec=(seconds[3] - 0.01, seconds[7] - 0.01)), 4, 3),
        (VideoRecord(clip, 0, "", frame_range=(2, total)), total - 2, 2),
        (VideoRecord(tmp_path / "tar", 0, "", member=(512, len(data))), total, 0),
    ]
    for record, num_frames, first in parts:
        count, _ = reencode(record, tmp_path / "x.mp4", short_side=48, gop=12)
        found = facts(tmp_path / "x.mp4")
        assert count == len(found["seconds"]) == num_frames
        assert found["seconds"][0] == 0
        with open_record(record) as reader:
            assert reader.num_frames == num_frames
        with VideoReader(clip) as whole, VideoReader(tmp_path / "x.mp4") as part:
            expected, got = whole.read([first]).float(), part.read([0]).float()
        assert (expected - got).abs().mean() < 6


# Names


def test_names_stay_inside_and_differ() -> None:
    given = [
        "a/x.avi",
        "a/x.mp4",
        "A/X.mov",
        "../../etc/passwd",
        "/abs/x.mp4",
        "..",
        "",
        "a/x.mp4/deep.mp4",
        ".hid/.x.mp4",
    ]
    given += ["n\0w\nl.mp4", "v_1.5s", "con:x|.mkv", "a/\udcff.mp4"]
    names = output_names([VideoRecord(Path("p/file.mp4"), 0, "", name) for name in given])
    assert names[:5] == ["a/x.mp4", "a/x_2.mp4", "A/X_3.mp4", "etc/passwd.mp4", "abs/x.mp4"]
    assert names[5:9] == ["video.mp4", "file.mp4", "a_x.mp4_deep.mp4", "_hid/_x.mp4"]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        inside = os.path.normpath(os.path.join("/out", name))
        assert inside.startswith("/out/")
        assert name.isprintable()
        assert not any(other.startswith(f"{name}/") for other in names)
    keys = output_names([VideoRecord(Path("p"), 0, "", "a.b/c.d.mp4")], has_shards=True)
    assert keys == ["a.b/c_d.mp4"]
    # Readers of shards pass over __names__.
    keys = output_names(
        [VideoRecord(Path("p"), 0, "", f"a/{name}.mp4") for name in ("__", "__x__", "_x")], has_shards=True
    )
    assert keys == ["a/v__.mp4", "a/v__x__.mp4", "a/_x.mp4"]


# Whole sets


def make_list(videos: Path, folder: Path) -> VideoSource:
    """Copies of the six videos, the second of which is none and the last not there."""
    lines = []
    for number, path in enumerate(sorted(videos.rglob("*.mp4"))):
        (folder / f"{number}.mp4").write_bytes(b"no video at all" if number == 1 else path.read_bytes())
        lines.append(f"{number}.mp4,{path.parent.name}\n")
    (folder / "list.csv").write_text("path,label\n" + "".join(lines) + "gone.mp4,rising\n")
    return load_source(folder / "list.csv", check_files=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_set_written_again(videos: Path, tmp_path: Path) -> None:
    source = make_list(videos, tmp_path)
    prepared = prepare_source(source, tmp_path / "out", short_side=32, workers=2)
    assert prepared.num_videos == 5
    assert [place for place, _ in prepared.broken] == ["list.csv:3", "list.csv:8"]
    small = load_source(*prepared.written)
    assert small.class_names == source.class_names
    kept = [record for n, record in enumerate(source.records) if n not in (1, 6)]
    assert [(r.name, r.label) for r in small.records] == [(r.name, r.label) for r in kept]
    for new, old in zip(small.records, kept, strict=True):
        with VideoReader(new.path) as one, VideoReader(old.path) as other:
            assert (one.num_frames, one.height, one.width) == (other.num_frames, 32, 32)
    before = contents(tmp_path / "out")
    assert prepare_source(source, tmp_path / "out", short_side=32) == prepared
    assert contents(tmp_path / "out") == before


class Stop(BaseException):
    pass


def stop_after(count: int) -> Any:
    def stop(done: int, _broken: int) -> None:
        if done >= count:
            raise Stop

    return stop


@pytest.mark.parametrize("shard_bytes", [None, 6000])
def test_an_interrupted_run_goes_on(
    shard_bytes: int | None, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_list(videos, tmp_path)
    options: dict[str, Any] = {"short_side": 32, "shard_bytes": shard_bytes, "workers": 1}
    whole = prepare_source(source, tmp_path / "whole", **options)
    out = tmp_path / "out"
    with pytest.raises(Stop):
        prepare_source(source, out, **options, on_progress=stop_after(3))
    (out / ".1.mp4.4711.tmp").write_bytes(b"half")
    log, real_encode = tmp_path / "log.txt", prepare_module._encode

    def noting(task: Any) -> Any:
        with open(log, "a") as file:
            file.write(f"{task.record.path.name}\n")
        return real_encode(task)

    monkeypatch.setattr(prepare_module, "_encode", noting)
    again = prepare_source(source, out, **options)
    assert log.read_text().split() == ["3.mp4", "4.mp4", "5.mp4", "gone.mp4"]
    assert (again.num_videos, again.broken) == (whole.num_videos, whole.broken)
    # x264 does not give the same bytes each time for frames as small as these.
    assert held(out, shard_bytes) == held(tmp_path / "whole", shard_bytes)
    assert contents(out).keys() - shards_of(out) == contents(tmp_path / "whole").keys() - shards_of(tmp_path / "whole")


def shards_of(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.tar")}


def held(folder: Path, shard_bytes: int | None) -> dict[str, tuple[int, int]]:
    """Label and number of frames of each video."""
    source = load_source(folder / "list.csv" if shard_bytes is None else str(folder / "*.tar"))
    found = {}
    for record in source.records:
        with open_record(record) as reader:
            found[Path(record.name).name] = (record.label, reader.num_frames)
    return found


def test_a_changed_source_is_written_again(videos: Path, tmp_path: Path) -> None:
    source = make_list(videos, tmp_path)
    prepare_source(source, tmp_path / "out", short_side=32)
    (tmp_path / "1.mp4").write_bytes((tmp_path / "0.mp4").read_bytes())
    (tmp_path / "out" / "2.mp4").unlink()
    prepared = prepare_source(source, tmp_path / "out", short_side=32)
    assert [place for place, _ in prepared.broken] == ["list.csv:8"]
    assert (tmp_path / "out" / "2.mp4").is_file()


@pytest.mark.extras
def test_shards_hold_the_same_set(videos: Path, tmp_path: Path) -> None:
    source = make_list(videos, tmp_path)
    prepared = prepare_source(source, tmp_path / "out", short_side=32, shard_bytes=9000)
    assert len(prepared.written) >= 2
    assert all(path.stat().st_size < 9000 + 12_000 for path in prepared.written)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        [*(path.name for path in prepared.written), "classes.txt", "prepare.json", "prepared.jsonl"]
    )
    small = load_source(str(tmp_path / "out" / "*.tar"))
    assert small.class_names == source.class_names
    labels = {Path(record.name).name: record.label for record in small.records}
    assert labels == {r.name: r.label for n, r in enumerate(source.records) if n not in (1, 6)}
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset([str(path) for path in prepared.written], shardshuffle=False).decode())
    assert {f"{sample['__key__']}.mp4": sample["cls"] for sample in samples} == labels


def test_shards_that_are_being_packed_when_the_process_dies(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_list(videos, tmp_path)
    options: dict[str, Any] = {"short_side": 32, "shard_bytes": 6000}
    prepare_source(source, tmp_path / "whole", **options)
    real_write, calls = prepare_module._write_shard, []

    def dying(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise Stop
        real_write(*args)

    monkeypatch.setattr(prepare_module, "_write_shard", dying)
    with pytest.raises(Stop):
        prepare_source(source, tmp_path / "out", **options)
    prepare_source(source, tmp_path / "out", **options)
    assert held(tmp_path / "out", 6000) == held(tmp_path / "whole", 6000)
    assert not (tmp_path / "out" / ".videos").exists()
    (tmp_path / "0.mp4").write_bytes((tmp_path / "2.mp4").read_bytes())
    with pytest.raises(JobError, match="1 videos changed since its shards were written"):
        prepare_source(source, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"short_side": 40}, "was begun with short side 32, now 40"),
        ({"gop": 3}, "was begun with gop 12, now 3"),
        ({"shard_bytes": 1000}, "was begun with shard bytes None, now 1000"),
    ],
)
def test_runs_do_not_mix(change: dict[str, int], expected: str, videos: Path, tmp_path: Path) -> None:
    source = make_list(videos, tmp_path)
    with pytest.raises(Stop):
        prepare_source(source, tmp_path / "out", short_side=32, on_progress=stop_after(0))
    with pytest.raises(JobError, match=expected):
        prepare_source(source, tmp_path / "out", **{"short_side": 32, **change})
    with pytest.raises(JobError, match="of another list"):
        prepare_source(load_source(videos), tmp_path / "out", short_side=32)


def test_the_sources_own_folder_is_refused(videos: Path) -> None:
    before = contents(videos)
    with pytest.raises(JobError, match="holds other files"):
        prepare_source(load_source(videos), videos)
    assert contents(videos) == before


def test_a_full_disk_ends_the_run(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    source = make_list(videos, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(reencode_module.os, "replace", full)
        with pytest.raises(JobError, match="cannot be written"):
            prepare_source(source, tmp_path / "out", short_side=32)
    assert prepare_source(source, tmp_path / "out2", short_side=32).num_videos == 5
    assert json.loads((tmp_path / "out2" / "prepare.json").read_text())["gop"] == 12


def test_pixels_that_are_no_squares_stay_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    reencode(VideoRecord(tmp_path / "wide.mp4", 0, ""), tmp_path / "x.mp4", short_side=256, gop=2)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
