"""Tests of the packet index: fewer packets decoded, equal frames."""

import csv
import os
import random
from pathlib import Path

import pytest
import torch
from video_fixtures import KINDS, MakeVideo, ReadNumbers

from videozoo.video import VideoError, VideoReader, av_stream, packet_index
from videozoo.video.av_file import AvFile


def source_of(reader: VideoReader) -> AvFile:
    """Return the source of a reader."""
    assert isinstance(reader._source, AvFile)
    return reader._source


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Time stamps of the packets that are decoded from now on."""
    stamps: list[int | None] = []
    plain = av_stream.AvStream._decode

    def noting(self, packet):  # type: ignore[no-untyped-def]
        if packet is not None:
            stamps.append(packet.pts)
        yield from plain(self, packet)

    monkeypatch.setattr(av_stream.AvStream, "_decode", noting)
    return stamps


def test_counting_decodes_one_frame(tmp_path: Path, make_video: MakeVideo, decoded: list[int | None]) -> None:
    with VideoReader(make_video(tmp_path / "x.mp4", num_frames=250, gop=10)) as reader:
        assert reader.num_frames == 250
    assert len(decoded) <= 2


def test_far_frames_are_sought(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, decoded: list[int | None]
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=250, gop=10)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([222, 41, 101, 44])) == [222, 41, 101, 44]
        assert source_of(reader).index() is not None
    assert len(decoded) < 30


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith("h264_bframes")])
def test_frames_that_no_other_needs_are_left_out(
    name: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, decoded: list[int | None]
) -> None:
    path = make_video(tmp_path / name, num_frames=40, gop=40, **KINDS[name])
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([39])) == [39]
        assert len(decoded) < 30
        # Wanted now, though passed by before.
        assert read_numbers(reader.read(range(40))) == list(range(40))
        for index in [0, 1, 2, 3, 2, 38, 37]:
            assert read_numbers(reader.read([index])) == [index]
        assert source_of(reader).index() is not None


def test_a_wrong_seek_disables_the_index(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=60)
    plain = av_stream.AvStream.seek
    monkeypatch.setattr(
        av_stream.AvStream,
        "seek",
        lambda self, place, back_sec=0: plain(self, place._replace(stamp=place.stamp + 40 * 512)),
    )
    with VideoReader(path) as reader:
        assert reader.num_frames == 60
        assert read_numbers(reader.read([20, 45])) == [20, 45]
        assert source_of(reader).index() is None


def test_stamps_that_are_not_the_frames_end_the_use_of_the_index(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=60)
    plain = packet_index._index_rows

    def wrong(rows: list[packet_index.PacketRow]) -> packet_index.PacketIndex | None:
        index = plain(rows)
        assert index is not None
        index.pts[31] += 1
        return index

    monkeypatch.setattr(packet_index, "_index_rows", wrong)
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([29])) == [29]
        assert source_of(reader).index() is not None
        assert read_numbers(reader.read([29, 33])) == [29, 33]
        assert source_of(reader).index() is None


def lose_frame(path: Path, number: int) -> None:
    """Zero the packet of a frame of an mp4."""
    with av_stream.av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[number]
    assert start is not None
    data[start : start + size] = bytes(size)
    path.write_bytes(data)


def test_a_missing_frame_corrects_the_number_of_frames(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=24)
    lose_frame(path, 7)
    with VideoReader(path) as reader:
        assert reader.num_frames == 24
        # Those of the first group are right without a look at the second.
        assert read_numbers(reader.read([0, 5])) == [0, 5]
        assert reader.num_frames == 24
        with pytest.raises(IndexError, match="has 23 frames"):
            reader.read([8, 23])
        assert reader.num_frames == 23
        assert read_numbers(reader.read([5, 6, 7, 22])) == [5, 6, 8, 23]
    with VideoReader(path) as reader:
        assert read_numbers(reader.read([8, 12])) == [9, 13]
        assert reader.num_frames == 23


def test_a_range_that_turns_out_to_be_too_long(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=24)
    lose_frame(path, 7)
    with VideoReader(path, frame_range=(4, 24)) as reader:
        assert reader.num_frames == 20
        with pytest.raises(VideoError, match="4 to 24 goes beyond its 23 frames"):
            reader.read([5, 19])


# Not mpeg2.mpg: program streams stamp some frames only, and the stamps between are made up.
@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"mpeg2.mpg"}))
def test_spans_contain_the_frames_shown_in_them(
    name: str, tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / name, num_frames=60, **KINDS[name])
    for start, end in [(0, 0.4), (0.48, 1), (0.47, 0.53), (1.2, 9), (0, 99)]:
        expected = [i for i in range(60) if start <= i / 25 < end]
        with VideoReader(path, span_sec=(start, end)) as reader:
            assert reader.num_frames == len(expected)
            assert read_numbers(reader.read(range(len(expected)))) == expected
            assert read_numbers(reader.read([len(expected) - 1, 0])) == [expected[-1], expected[0]]
            with pytest.raises(IndexError, match=f"has {len(expected)} frames"):
                reader.read([len(expected)])
    with VideoReader(path, span_sec=(7, 8)) as reader, pytest.raises(VideoError, match="no frame of it is shown in"):
        _ = reader.num_frames


def test_a_span_reads_only_its_part_of_the_file(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=250, gop=10, codec="libx264")
    seen = []
    plain = packet_index.PacketRow.of
    monkeypatch.setattr(packet_index.PacketRow, "of", lambda packet, *more: seen.append(packet) or plain(packet, *more))
    with VideoReader(path, span_sec=(6, 7)) as reader:
        assert read_numbers(reader.read([0, 24])) == [150, 174]
        assert source_of(reader).index() is not None
    assert len(seen) < 60


def test_real_clips_by_seconds(shared_data: Path) -> None:
    clips = shared_data / "clips"
    for name in ["mmaction2/demo.mp4", "mmaction2/test.avi", "torchcodec/av1_video.mkv"]:
        for span in [(0.5, 1.5), (2, 3.3)]:
            with VideoReader(clips / name, span_sec=span) as reader:
                count = reader.num_frames
                fast = reader.read(range(0, count, 5))
                source_of(reader)._fall_back()
                assert reader.num_frames == count
                assert torch.equal(reader.read(range(0, count, 5)), fast)


@pytest.mark.slow
def test_every_frame_of_every_clip_alone(shared_data: Path) -> None:
    clips = shared_data / "clips"
    with open(clips / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["frames_decoded"]]
    num_indexed = 0
    for row in rows:
        expected = int(row["frames_decoded"])
        places = list(range(expected))
        if int(row["width"]) * int(row["height"]) > 500_000:
            places = sorted(random.Random(0).sample(places, min(20, expected)))
        with VideoReader(clips / row["file"]) as reader:
            source_of(reader)._fall_back()
            assert reader.num_frames == expected, row["file"]
            truth = reader.read(places)
        shuffled = random.Random(1).sample(range(len(places)), min(len(places), 16))
        with VideoReader(clips / row["file"]) as reader:
            assert reader.num_frames == expected, row["file"]
            num_indexed += source_of(reader).index() is not None
            for at in shuffled:
                assert torch.equal(reader.read([places[at]])[0], truth[at]), (row["file"], places[at])
            assert torch.equal(reader.read(places), truth), row["file"]
    assert num_indexed >= 30


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads by /proc")
def test_reading_starts_no_threads_and_closes_files(tmp_path: Path, make_video: MakeVideo) -> None:
    # A worker that is forked from a process with such threads hangs where it frees what they belong to.
    path = make_video(tmp_path / "x.mp4", codec="libx264", size=(240, 320))
    lost = make_video(tmp_path / "lost.mp4")
    lose_frame(lost, 7)
    with VideoReader(path) as reader:
        reader.read([0])
    counts = []
    for folder in ("/proc/self/task", "/proc/self/fd"):
        counts.append(len(os.listdir(folder)))
    with VideoReader(path) as reader:
        reader.read([1, 5, 11])
        assert len(os.listdir("/proc/self/task")) == counts[0]
    with VideoReader(lost) as reader:
        reader.read([9])
    assert len(os.listdir("/proc/self/fd")) == counts[1]
