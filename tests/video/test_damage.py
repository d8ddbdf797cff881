"""Tests of damage inside files and of truncated files."""

from pathlib import Path

import av
import pytest
from av.packet import Packet
from PIL import Image
from video_fixtures import MakeVideo, copy_packets

from videozoo.data import VideoReader, VideoRecord
from videozoo.jobs.check import check_video
from videozoo.video.byte_window import ByteWindow
from videozoo.video.container_size import is_cut_short


def _note(path: Path) -> str:
    finding = check_video(VideoRecord(path, 0, ""))
    assert not finding.error
    return finding.note


def _packet(path: Path, number: int) -> tuple[int, int]:
    """Return position and size of the first packet, from number ``number`` on, with a known position."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return next((packet.pos, packet.size) for packet in packets[number:] if packet.pos is not None)


@pytest.mark.parametrize(("codec", "ending"), [("libx264", "mp4"), ("mpeg4", "avi"), ("mpeg2video", "mpg")])
def test_frames_with_errors_are_counted(codec: str, ending: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / f"x.{ending}", num_frames=24, codec=codec, size=(96, 128), gop=8)
    assert _note(path) == ""
    at, size = _packet(path, 8)
    data = bytearray(path.read_bytes())
    for place in range(at + size // 3, at + size - 8, 2):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert reader.num_damaged == 0
        reader.read(range(reader.num_frames))
        count, damaged = reader.num_frames, reader.num_damaged
        assert 1 <= damaged <= 17
    with VideoReader(path) as reader:
        reader.read([0, 1])
        assert reader.num_damaged == 0
    assert f"{damaged} of its {count} frames show damage, or may" in _note(path)


def test_frames_hidden_by_an_edit_list_are_no_damage(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "x.mp4", num_frames=24, codec="libx264")

    def hide_five(_: int, packet: Packet) -> Packet:
        packet.pts, packet.dts = packet.pts - 5 * packet.duration, packet.dts - 5 * packet.duration
        return packet

    path = copy_packets(source, tmp_path / "y.mp4", hide_five, avoid_negative_ts="disabled")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 24
    finding = check_video(VideoRecord(path, 0, ""))
    assert (finding.frames, finding.error, finding.note) == (19, "", "")


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "flv"])
def test_files_that_are_cut_short(ending: str, tmp_path: Path, make_video: MakeVideo) -> None:
    codec = "flv" if ending == "flv" else "mpeg4"
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    path = make_video(tmp_path / f"x.{ending}", num_frames=24, codec=codec, size=(96, 128), **options)
    assert _note(path) == ""
    path.write_bytes(path.read_bytes()[: _packet(path, 14)[0] + 12])
    assert "the file is cut short" in _note(path)
    with VideoReader(path) as reader:
        assert 5 < reader.num_frames < 24


def test_ogg_and_matroska_of_unknown_length(tmp_path: Path, make_video: MakeVideo) -> None:
    source = make_video(tmp_path / "x.webm", codec="libvpx")
    for target, options in (("x.ogv", {}), ("x.mkv", {"live": "1"})):
        data = copy_packets(source, tmp_path / target, **options).read_bytes()
        for size, expected in ((len(data), False), (len(data) - 30, target == "x.ogv")):
            (tmp_path / target).write_bytes(data[:size])
            with ByteWindow(tmp_path / target) as window:
                assert is_cut_short(window) == expected


def test_lost_packets_of_a_transport_stream_but_not_joined_ones(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.ts", num_frames=24, codec="mpeg2video", size=(96, 128))
    data = path.read_bytes()
    middle = len(data) // 376 * 188
    path.write_bytes(data[:middle] + data[middle + 4 * 188 :])
    assert "some of its data is missing" in _note(path)
    path.write_bytes(data + data)
    assert _note(path) == ""


def test_a_still_picture_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (64, 48)).save(path)
    assert _note(path) == "it has one frame only, like a still picture"
    with VideoReader(path) as reader:
        reader.read([0])
        assert reader.note == "it has one frame only, like a still picture"
