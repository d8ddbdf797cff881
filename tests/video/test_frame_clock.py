"""Tests that reader, index, streams, prepare and check-data agree on frame times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from video_fixtures import MakeVideo, ReadNumbers, copy_packets

from videozoo.data import VideoReader, VideoRecord
from videozoo.jobs.check import check_video
from videozoo.jobs.reencode import reencode
from videozoo.video import av_stream
from videozoo.video.frame_clock import FrameClock, Timeline
from videozoo.video.frame_times import frame_times
from videozoo.video.live import file_frames

BFRAMES = {"codec": "libx264", "x264-params": "bframes=2:b-adapt=0:keyint=8:scenecut=0"}


def check_clock(path: Path, seconds: list[float], tmp_path: Path, read_numbers: ReadNumbers) -> None:
    """Check that reader, index, stream and jobs place frame k, which shows the number k, at ``seconds[k]``."""
    count = len(seconds)
    duration = seconds[-1] * count / (count - 1)
    assert frame_times(path) == pytest.approx(seconds, abs=2e-3)
    found = check_video(VideoRecord(path, 0, ""))
    assert (found.frames, found.error) == (count, "")
    assert found.fps == pytest.approx(count / duration, abs=2e-3 * count)
    assert found.seconds == pytest.approx(duration, rel=0.02)
    with VideoReader(path) as reader:
        assert reader.num_frames == count
        assert round(reader.fps, 3) == found.fps
        places = [count - 1, 0, count // 2, 3]
        assert read_numbers(reader.read(places)) == places
    middle = (seconds[count // 3] - 0.004, seconds[count // 2] - 0.004)
    with VideoReader(path, span_sec=middle) as reader:
        assert read_numbers(reader.read(range(reader.num_frames))) == list(range(count // 3, count // 2))
    live = list(file_frames(path, 1000))
    assert [frame.time_sec for frame in live] == pytest.approx(seconds, abs=2e-3)
    for span, first, size in ((None, 0, count), (middle, count // 3, count // 2 - count // 3)):
        assert reencode(VideoRecord(path, 0, "", span_sec=span), tmp_path / "y.mp4", short_side=48, gop=8)[0] == size
        expected = np.subtract(seconds[first : first + size], seconds[first])
        assert frame_times(tmp_path / "y.mp4") == pytest.approx(expected.tolist(), abs=2e-3)


@pytest.mark.parametrize("codec", ["with B-frames", "without"])
@pytest.mark.parametrize("is_even", [True, False])
def test_the_chunks_of_an_avi_are_its_clock(
    codec: str, is_even: bool, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    steps = np.full(23, 4) if is_even else np.random.default_rng(0).choice([4, 8, 40], 23)
    stamps = [0, *np.cumsum(steps).tolist()]
    options = BFRAMES if codec == "with B-frames" else {"codec": "mpeg4"}
    source = make_video(tmp_path / "x.ts", num_frames=24, pts=stamps, **options)
    starts = []

    def from_zero(_: int, packet: Packet) -> Packet:
        starts.append(packet.dts)
        packet.dts, packet.pts = packet.dts - starts[0], packet.pts - starts[0]
        return packet

    avi = copy_packets(source, tmp_path / "x.avi", from_zero, Fraction(1, 50))
    with av.open(str(avi)) as container:
        dts = [packet.dts * packet.time_base for packet in container.demux(video=0) if packet.size]
    seconds = [float(stamp - dts[0]) for stamp in sorted(dts)]
    check_clock(avi, seconds, tmp_path, read_numbers)
    if is_even:
        assert seconds == pytest.approx([k / 25 for k in range(24)], abs=2e-3)


@pytest.mark.parametrize("ending", ["ts", "mpg", "mkv"])
def test_joined_files_go_on(ending: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    options = {"codec": "mpeg2video"} if ending == "mpg" else BFRAMES
    part = make_video(tmp_path / f"part.{ending}", num_frames=24, **options)
    path = tmp_path / f"twice.{ending}"
    path.write_bytes(2 * part.read_bytes())
    times = frame_times(path)
    assert times == pytest.approx([k / 25 for k in range(48)], abs=0.1)
    assert min(np.diff(times)) > 0
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([47, 0, 23, 24, 30])) == [23, 0, 23, 0, 6]
    with VideoReader(path, span_sec=(times[30] - 0.01, times[40] - 0.01)) as reader:
        assert read_numbers(reader.read(range(reader.num_frames))) == list(range(6, 16))
    assert len(list(file_frames(path, 25.5))) == 48
    assert reencode(VideoRecord(path, 0, ""), tmp_path / "y.mp4", short_side=48, gop=8)[0] == 48
    assert frame_times(tmp_path / "y.mp4") == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("jump", [-48, -3, -(2**33), 3 * 3600 * 90_000])
def test_stamps_that_jump_are_shifted(jump: int) -> None:
    timeline = Timeline(Fraction(1, 90_000))
    found = []
    for number in range(20):
        packet = Packet(b"x")
        packet.dts = 3600 * number + (jump if number >= 10 else 0) - (3600 * 10 if number >= 10 and jump > -100 else 0)
        packet.pts, packet.duration = packet.dts + 7200, 3600
        timeline.follow(packet)
        found.append((packet.dts, packet.pts))
    assert found == [(3600 * number, 3600 * number + 7200) for number in range(20)]
    assert timeline.num_breaks == 1


def test_a_stamp_that_is_off_by_a_frame_is_no_joint() -> None:
    timeline = Timeline(Fraction(1, 90_000))
    for number in (0, 1, 2, 5, 6, 5, 6, 7):  # as FFmpeg gives them, now and then, of MPEG program streams
        packet = Packet(b"x")
        packet.pts = packet.dts = 3600 * number
        packet.duration = 3600
        timeline.follow(packet)
        assert packet.pts == 3600 * number
    assert timeline.num_breaks == 0


def test_frames_of_one_time_do_not_move_those_after() -> None:
    clock = FrameClock(1, has_pts=True)
    found = []

    def show(kind: PictureType, pts: int) -> None:
        frame = VideoFrame(16, 16)
        frame.pict_type, frame.pts = kind, pts
        found.append(clock.stamp(frame))

    held: tuple[PictureType, int] | None = None  # shown when the next frame that is not a B-frame comes
    stamps = [0, 4, 4, 5, 7, 5, 6, 10, 8, 9, 14, 14, 15, 17, 15, 16, 20, 18, 19, 23, 21, 22, 26]
    for letter, stamp in zip("IPBBPBBPBBPBBPBBPBBPBBP", stamps, strict=True):
        packet = Packet(b"x")
        kind, packet.pts = PictureType[letter], stamp
        clock.expect(packet)
        if kind == PictureType.B:
            show(kind, stamp)
        else:
            if held:
                show(*held)
            held = (kind, stamp)
    assert found == [0, 4, 5, 5, 5, 6, 7, 8, 9, 10, 14, 14, 15, 15, 16, 17, 18, 19, 20, 21, 22, 23]


def test_a_gap_keeps_its_time(tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers) -> None:
    stamps = [0, 4, 8, 12, 60_000, 60_004, 60_008, 60_012]
    for name in ("x.mkv", "x.mp4", "x.ts", "x.avi"):
        path = make_video(tmp_path / name, num_frames=8, pts=stamps)
        check_clock(path, [stamp / 100 for stamp in stamps], tmp_path, read_numbers)


def checksum(data: bytes) -> int:
    """Return the checksum of an Ogg page."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
    return value


def empty_packet(data: bytes, serial: bytes) -> bytes:
    """Remove the bytes of a packet that is inside one page of the stream, after the headers."""
    at, number = 0, 0
    while True:
        sizes = data[at + 27 : at + 27 + data[at + 26]]
        start, end = at + 27 + len(sizes), at + 27 + len(sizes) + sum(sizes)
        number += data[at + 14 : at + 18] == serial
        ends = [place for place, size in enumerate(sizes) if size < 255]
        if number > 3 and data[at + 14 : at + 18] == serial and len(ends) > 1:
            first, last = ends[0] + 1, ends[1] + 1
            begin, stop = start + sum(sizes[:first]), start + sum(sizes[:last])
            sizes = sizes[:first] + b"\0" + sizes[last:]
            page = bytearray(data[at : at + 26]) + bytes([len(sizes)]) + sizes + data[start:begin] + data[stop:end]
            page[22:26] = bytes(4)
            page[22:26] = checksum(page).to_bytes(4, "little")
            return data[:at] + bytes(page) + data[end:]
        at = end


def test_an_empty_packet_shows_the_frame_before_on(tmp_path: Path, shared_data: Path) -> None:
    whole = shared_data / "clips" / "PHP-FFMpeg" / "Test.ogv"
    data = whole.read_bytes()
    path = tmp_path / "x.ogv"
    path.write_bytes(empty_packet(data, data[14:18]))
    before, times = frame_times(whole), frame_times(path)
    assert len(before) == 443
    assert set(times) < set(before)
    assert len(times) == 442
    found = check_video(VideoRecord(path, 0, ""))
    assert (found.frames, found.error, found.note) == (442, "", "")
    with VideoReader(path) as reader:
        assert reader.num_frames == 442


def test_the_rate_of_dv_is_not_its_time_base(tmp_path: Path) -> None:
    context = av.CodecContext.create("dvvideo", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 720, 576, "yuv420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((576, 720, 3), np.uint8)).reformat(format="yuv420p")
    data = b"".join(bytes(packet) for packet in context.encode(frame))
    for count in (1, 2, 5):
        path = tmp_path / "x.dv"
        path.write_bytes(count * data)
        found = check_video(VideoRecord(path, 0, ""))
        assert (found.frames, found.fps, found.seconds) == (count, 25, count / 25)
        with VideoReader(path) as reader:
            assert reader.fps == 25


def test_a_stream_without_times_has_its_stated_rate(tmp_path: Path, make_video: MakeVideo) -> None:
    path = tmp_path / "x.h264"
    with av.open(str(make_video(tmp_path / "x.ts", num_frames=20, **BFRAMES))) as container:
        path.write_bytes(b"".join(bytes(packet) for packet in container.demux(video=0)))
    assert frame_times(path) == pytest.approx([k / 25 for k in range(20)])
    found = check_video(VideoRecord(path, 0, ""))
    assert (found.frames, found.fps, found.seconds) == (20, 25, 0.8)


def test_far_frames_of_a_transport_stream_are_sought(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.ts", num_frames=250, **BFRAMES)
    decoded = []
    plain = av_stream.AvStream._decode
    monkeypatch.setattr(av_stream.AvStream, "_decode", lambda self, packet: decoded.append(1) or plain(self, packet))
    for member in (None, (0, path.stat().st_size)):
        with VideoReader(path, member=member) as reader:
            decoded.clear()
            assert read_numbers(reader.read([222, 41, 101, 44])) == [222, 41, 101, 44]
            assert len(decoded) < 45
            assert reader._source.index() is not None  # type: ignore[union-attr]


def test_frames_that_mpeg4_left_out_keep_their_time(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    """A packet without a coded frame, as recorders write for one they dropped."""

    def leave_out(number: int, packet: Packet) -> Packet:
        if number not in {4, 9, 10}:
            return packet
        data = bytes(packet)
        at = data.index(b"\0\0\1\xb6") + 4
        # Kind P, no whole second, marker, 5 bits of time at 25 a second, marker, not coded, stuffing.
        bits = f"{int.from_bytes(data[at : at + 2]):016b}"[:10] + "001111"
        bare = Packet(data[:at] + int(bits, 2).to_bytes(2))
        bare.pts, bare.dts, bare.time_base = packet.pts, packet.dts, packet.time_base
        return bare

    source = make_video(tmp_path / "whole.avi", num_frames=20, gop=20, codec="mpeg4", sc_threshold="1000000000")
    path = copy_packets(source, tmp_path / "x.avi", leave_out)
    kept = [number for number in range(20) if number not in {4, 9, 10}]
    assert frame_times(path) == pytest.approx([number / 25 for number in kept])
    with VideoReader(path) as reader:
        assert reader.num_frames == 17
    found = check_video(VideoRecord(path, 0, ""))
    assert (found.frames, found.fps, found.seconds) == (17, 25, 0.8)
