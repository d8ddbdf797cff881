"""Tests of frame ranges, members of shards, and limits of work and size."""

import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from video_fixtures import MakeVideo, ReadNumbers

from videozoo.data import (
    VideoError,
    VideoReader,
    VideoRecord,
    count_frames,
    open_record,
    read_frames,
)
from videozoo.video import limits
from videozoo.video.byte_window import ByteWindow


def test_ranges_of_frames(tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=30)
    with VideoReader(path, frame_range=(10, 22)) as reader:
        assert reader.num_frames == 12
        assert read_numbers(reader.read([11, 0, 3])) == [21, 10, 13]
        with pytest.raises(IndexError, match=r"frame 12 asked of .*x\.mp4, which has 12 frames"):
            reader.read([12])
        with pytest.raises(IndexError, match="count from 0"):
            reader.read([-1])
    for beyond in [(10, 31), (40, 50)]:
        with VideoReader(path, frame_range=beyond) as reader:
            for ask in (lambda reader: reader.num_frames, lambda reader: reader.read([0])):
                with pytest.raises(VideoError, match="goes beyond its 30 frames"):
                    ask(reader)


def test_ranges_of_images(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("L", (8, 6), number * 40).save(tmp_path / f"{number}.png")
    with VideoReader(tmp_path, frame_range=(2, 5)) as reader:
        assert reader.num_frames == 3
        assert reader.read([0, 2])[:, 0, 0, 0].tolist() == [80, 160]
    with VideoReader(tmp_path, frame_range=(2, 7)) as reader, pytest.raises(VideoError, match="beyond its 6 frames"):
        _ = reader.num_frames
    with pytest.raises(VideoError, match="a folder of images has no times"):
        VideoReader(tmp_path, span_sec=(0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span_sec": (2, 2)}, "its end must lie after its start"),
        ({"span_sec": (0.0, float("nan"))}, "its end must lie after its start"),
        ({"frame_range": (3, 3)}, "needed are 0 <= start < stop"),
        ({"frame_range": (-1, 3)}, "needed are 0 <= start < stop"),
        ({"frame_range": (0, 3), "span_sec": (0, 1)}, "pass one of them"),
    ],
)
def test_parts_that_make_no_sense(options: dict, message: str, tmp_path: Path, make_video: MakeVideo) -> None:
    with pytest.raises(ValueError, match=message):
        VideoReader(make_video(tmp_path / "x.mp4"), **options)


def write_shard(path: Path, files: list[Path]) -> dict[str, tuple[int, int]]:
    """Write a tar of files and return offset and size of each by name."""
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, file.name)
    with tarfile.open(path) as tar:
        return {member.name: (member.offset_data, member.size) for member in tar}


def bytes_read() -> int:
    """Return the bytes that this process has read from files, including FFmpeg."""
    counts = Path("/proc/self/io")
    if not counts.exists():
        pytest.skip("this system does not count the bytes that a process reads")
    return int(counts.read_text().split()[1])


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.ts", "a.avi"])
def test_members_of_a_shard(name: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    codec = {"a.webm": "libvpx-vp9", "a.ts": "libx264"}.get(name, "mpeg4")
    path = make_video(tmp_path / name, num_frames=40, codec=codec)
    other = make_video(tmp_path / f"other_{name}", num_frames=12, codec=codec)
    shard = tmp_path / "x, y:z.tar"  # what separates the options of an address is part of a name
    members = write_shard(shard, [other, path, other])
    before = bytes_read()
    with VideoReader(shard, member=members[name]) as reader:
        assert reader.num_frames == 40
        got = reader.read([39, 0, 20])
    num_bytes = bytes_read() - before
    assert read_numbers(got) == [39, 0, 20]
    assert torch.equal(got, read_frames(path, [39, 0, 20]))
    assert 0 < num_bytes < 4 * path.stat().st_size + 2**17
    record = VideoRecord(shard, 0, "x", frame_range=(5, 9), member=members[name])
    with open_record(record) as reader:
        assert (reader.num_frames, read_numbers(reader.read([3]))) == (4, [8])


def test_members_that_are_not_there(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4")
    members = write_shard(tmp_path / "x.tar", [path])
    offset, size = members["a.mp4"]
    (tmp_path / "cut.tar").write_bytes((tmp_path / "x.tar").read_bytes()[: offset + size - 1])
    cases = [
        ("cut.tar", (offset, size), "was it cut short"),
        ("x.tar", (0, 2**60), "was it cut short"),
        ("x.tar", (-1, 5), "no member of a shard lies"),
        ("x.tar", (offset, 0), "no member of a shard lies"),
        ("x.tar", (0, 400), "not a video"),
        ("x.tar", (offset, size // 2), "(moov|no video stream)"),
    ]
    for name, member, message in cases:
        with pytest.raises(VideoError, match=message) as caught:
            VideoReader(tmp_path / name, member=member)
        assert caught.value.path == tmp_path / name


def test_a_window_is_read_at_any_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    with ByteWindow(tmp_path / "x", (20, 30)) as window:
        assert window.size == 30
        assert window.read_at(0, 99) == bytes(range(20, 50))
        assert window.read_at(27, 9) == bytes([47, 48, 49])
        assert window.read_at(5, 2) == bytes([25, 26])
        assert window.read_at(30, 1) == window.read_at(1000, 5) == b""


def test_a_file_that_takes_too_much_work(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=60)
    with VideoReader(path, max_frames=6) as reader:
        reader.read([13, 1])
        reader.read([3])  # each read counts for itself
        with pytest.raises(
            VideoError, match="decode more than 6 frames; allow more with --max-frames or VIDEOZOO"
        ) as caught:
            reader.read([5, 11])
        assert caught.value.path == path
    monkeypatch.setenv(limits.MAX_FRAMES_VARIABLE, "3")
    with pytest.raises(VideoError, match="decode more than 3 frames"):
        read_frames(path, [5])
    monkeypatch.setenv(limits.MAX_FRAMES_VARIABLE, "40")
    assert len(read_frames(path, [20, 50])) == 2
    monkeypatch.setattr(limits, "PACKETS_PER_FRAME", 1)
    with pytest.raises(VideoError, match="read more than 40 packets"):
        count_frames(path)


def test_frames_too_large(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.gif", codec="gif")
    data = bytearray(path.read_bytes())
    data[6:10] = (60000).to_bytes(2, "little") * 2
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"(60000x60000|FFmpeg|no frame of it decodes|no video stream)"):
        VideoReader(path)
    good = make_video(tmp_path / "x.mp4")
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(VideoError, match="its frames are 64x48; at most 3071 pixels are read"):
        VideoReader(good)
    Image.new("L", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "folder" / "a.png")
    with pytest.raises(VideoError, match="its frames are 64x48"):
        VideoReader(tmp_path / "folder")
