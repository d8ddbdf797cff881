"""Tests of seeking in files without an index."""

from pathlib import Path

import pytest
import torch
from test_reader_index import decoded, lose_frame
from video_fixtures import MakeVideo, ReadNumbers

from videozoo.video import VideoReader, index_cache
from videozoo.video.av_stream import AvStream
from videozoo.video.exact_frames import ExactFrames

__all__ = ["decoded"]

# Codecs that are not indexed by their packets, in the containers that they come in.
SOUGHT = {
    "vp8.webm": {"codec": "libvpx", "deadline": "realtime", "cpu-used": "8"},
    "vp8_altref.webm": {
        "codec": "libvpx",
        "deadline": "good",
        "cpu-used": "5",
        "auto-alt-ref": "1",
        "lag-in-frames": "9",
    },
    "flv1.flv": {"codec": "flv"},
    "h263.3gp": {"codec": "h263", "size": (144, 176)},
    "msmpeg4.avi": {"codec": "msmpeg4v2"},
    "wmv2.wmv": {"codec": "wmv2"},
    "rv20.rm": {"codec": "rv20", "size": (144, 176)},
    "svq1.mov": {"codec": "svq1", "pix_fmt": "yuv410p"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "mpeg1_bframes.mkv": {"codec": "mpeg1video", "bf": "2"},
}
# Those of which only decoding shows which frames a span has.
NOT_SOUGHT = {
    "h264_bframes.avi": {"codec": "libx264", "x264-params": "bframes=2:keyint=12"},
    "h264.h264": {"codec": "libx264"},
    "mpeg1.mpg": {"codec": "mpeg1video", "bf": "2"},
}


def compare(path: Path, span: tuple[float, float]) -> bool:
    """Check the frames of a span against the file decoded from its start, and return whether they were sought."""
    with VideoReader(path, span_sec=span) as reader:
        source = reader._source
        found = reader.read(range(reader.num_frames))
        reading = source._reading  # type: ignore[union-attr]
        is_sought = not isinstance(reading, ExactFrames) or reading._begin is not AvStream.shown
        source._stream.close()  # type: ignore[union-attr]
        source._reading = ExactFrames(source._open(), source._open, span)  # type: ignore[union-attr]
        assert reader.num_frames == len(found)
        assert torch.equal(reader.read(range(len(found))), found)
    return is_sought


@pytest.mark.parametrize("name", SOUGHT)
def test_a_span_is_sought(name: str, tmp_path: Path, make_video: MakeVideo, decoded: list[int | None]) -> None:
    path = make_video(tmp_path / name, num_frames=150, gop=12, **SOUGHT[name])
    for span in [(5, 5.4), (2.41, 3.3), (0.48, 0.5), (5.6, 99)]:
        assert compare(path, span)
    decoded.clear()
    with VideoReader(path, span_sec=(5, 5.4)) as reader:
        assert reader.num_frames == 10
    assert len(decoded) < 75


@pytest.mark.parametrize("name", NOT_SOUGHT)
def test_a_span_that_cannot_be_sought_exactly_is_decoded_from_the_start(
    name: str, tmp_path: Path, make_video: MakeVideo
) -> None:
    path = make_video(tmp_path / name, num_frames=60, gop=12, **NOT_SOUGHT[name])
    assert not compare(path, (1.4, 1.8))


def test_leading_frames_of_an_open_gop_are_skipped(
    tmp_path: Path, make_video: MakeVideo, read_numbers: ReadNumbers
) -> None:
    path = make_video(tmp_path / "x.mkv", num_frames=150, gop=12, codec="mpeg1video", bf="2")
    for start in range(60, 75):
        with VideoReader(path, span_sec=(start / 25, 3.2)) as reader:
            assert read_numbers(reader.read(range(reader.num_frames))) == list(range(start, 80))


def test_damage_in_a_span_is_decoded_from_the_start(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.3gp", num_frames=60, gop=12, **SOUGHT["h263.3gp"])
    lose_frame(path, 40)
    assert not compare(path, (1.5, 1.8))
    assert compare(path, (0.5, 0.8))


@pytest.mark.parametrize("name", SOUGHT)
def test_a_whole_file_is_decoded_from_its_start_once(
    name: str,
    tmp_path: Path,
    make_video: MakeVideo,
    decoded: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_cache, "FRESH_SEC", -60)
    path = make_video(tmp_path / name, num_frames=150, gop=12, **SOUGHT[name])
    with VideoReader(path) as reader:
        assert reader.num_frames == 150
        truth = reader.read(range(150))
    decoded.clear()
    wanted = [3, 140, 77, 78, 36]
    with VideoReader(path) as reader:
        assert reader.num_frames == 150
        assert torch.equal(reader.read(wanted), truth[wanted])
    assert len(decoded) < 70
