"""Tests of the supported names, containers and codecs."""

import shutil
from pathlib import Path

import av
import pytest
from video_fixtures import MakeVideo, ReadNumbers

from videozoo.data import VideoError, VideoReader, VideoRecord
from videozoo.jobs.check import check_video

NAMES = (
    *("-x.mp4", "a%03d.mp4", "12:30.mp4", "c#1?.mp4", "file:x.mp4", "concat:a.mp4", "new\nline.mp4", "tab\t.mp4"),
    *("qu'o\"te.mp4", "com,ma.mp4", " blank .mp4", "[a-b]*.mp4", "~x.mp4", "pipe:0", "subfile,,start,0,end,0,,:a.mp4"),
    *("with space.mp4", "http:x.mp4", "%03d.mp4", "grüße.MP4", "no_ending"),
)


def test_a_name_is_never_taken_for_an_address(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "plain.mp4", num_frames=5)
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        shutil.copy(video, name)
        with VideoReader(name) as reader:
            assert reader.num_frames == 5, name
        assert check_video(VideoRecord(Path(name), 0, "")).frames == 5, name


@pytest.mark.parametrize(
    ("codec", "ending", "size"),
    [
        ("flv", "swf", (48, 64)),
        ("rv10", "rm", (96, 128)),
        ("apng", "apng", (48, 64)),
        ("libx264", "m2ts", (48, 64)),
        ("libx264", "h264", (48, 64)),
        ("mpeg2video", "mxf", (48, 64)),
        ("mpeg2video", "vob", (48, 64)),
        ("mpeg1video", "m1v", (48, 64)),
        ("dvvideo", "dv", (576, 720)),
        ("wmv2", "wmv", (48, 64)),
        ("ffv1", "nut", (48, 64)),
        ("libtheora", "ogv", (48, 64)),
    ],
)
def test_containers(
    codec: str, ending: str, size: tuple[int, int], tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} encoder")
    options = {"pix_fmt": "rgb24"} if codec == "apng" else {}
    path = make_video(tmp_path / f"x.{ending}", num_frames=12, codec=codec, size=size, **options)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read(range(reader.num_frames))) == list(range(12))
    finding = check_video(VideoRecord(path, 0, ""))
    assert (finding.frames, finding.height, finding.width, finding.error, finding.note) == (12, *size, "", "")


def test_a_long_mdat_and_a_missing_stsd(tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=12)
    data = path.read_bytes()
    at = data.index(b"mdat") - 4
    assert data[at - 4 : at] == b"free"  # room for a size of 64 bits
    size = int.from_bytes(data[at : at + 4], "big") + 8
    long = data[: at - 8] + b"\x00\x00\x00\x01mdat" + size.to_bytes(8, "big") + data[at + 8 :]
    path.write_bytes(long)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read(range(12))) == list(range(12))
    assert check_video(VideoRecord(path, 0, "")).note == ""
    path.write_bytes(data.replace(b"stsd", b"xtsd"))
    with pytest.raises(VideoError):
        VideoReader(path)


def test_lengths_of_nal_units_in_two_bytes(tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    source, path = make_video(tmp_path / "x.mp4", num_frames=12, codec="libx264"), tmp_path / "y.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        extradata = bytearray(old.streams.video[0].codec_context.extradata or b"")
        extradata[4] &= 0xFD
        stream.codec_context.extradata = bytes(extradata)
        for packet in old.demux(video=0):
            data, out = bytes(packet), b""
            while data:
                size = int.from_bytes(data[:4], "big")
                out += data[2 : 4 + size]
                data = data[4 + size :]
            if out:
                short = av.Packet(out)
                short.pts, short.dts, short.duration = packet.pts, packet.dts, packet.duration
                short.time_base, short.stream, short.is_keyframe = packet.time_base, stream, packet.is_keyframe
                new.mux(short)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([11, 0, 5])) == [11, 0, 5]
        assert reader.num_frames == 12
