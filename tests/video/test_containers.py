"""Tests of unusual but valid files: late starts, very high rates, two video tracks, reversed HEVC."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from video_fixtures import ReadNumbers, paint_number, write_video

from videozoo.data import VideoReader
from videozoo.video.frame_times import frame_times


def painted(num_frames: int) -> Iterator[np.ndarray]:
    return (paint_number(number, 48, 64) for number in range(num_frames))


@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
def test_spans_of_a_file_that_starts_at_ten_seconds(ending: str, tmp_path: Path, read_numbers: ReadNumbers) -> None:
    options = {"x264-params": "bframes=2:keyint=8"}
    path = write_video(tmp_path / f"x.{ending}", painted(40), "libx264", start=10, **options)
    assert frame_times(path) == pytest.approx([k / 25 for k in range(40)], abs=1e-3)
    # ``ffmpeg -ss`` counts from the file's start too, which an mp4's edit list puts before an empty part.
    start = 10 if ending == "mp4" and av.open(str(path)).start_time == 0 else 0
    with VideoReader(path, span_sec=(start + 0.396, start + 0.796)) as reader:
        assert read_numbers(reader.read(range(reader.num_frames))) == list(range(10, 20))


def test_more_frames_than_milliseconds(tmp_path: Path, read_numbers: ReadNumbers) -> None:
    path = write_video(tmp_path / "x.mkv", painted(150), "libx264", 1500, **{"x264-params": "bframes=2:keyint=30"})
    times = frame_times(path)
    assert min(np.diff(times)) > 0
    assert times == pytest.approx([k / 1500 for k in range(150)], abs=1e-3)
    with VideoReader(path) as reader:
        assert reader.fps == pytest.approx(1500, rel=0.01)
        assert read_numbers(reader.read([149, 0, 77, 76])) == [149, 0, 77, 76]


def test_of_two_video_tracks_the_first_is_read(tmp_path: Path, read_numbers: ReadNumbers) -> None:
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=rate) for rate in (25, 50)]
        for stream, size in zip(streams, ((48, 64), (96, 128)), strict=True):
            (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        for number in range(20):
            for stream, shown in zip(streams, (number, 255 - number), strict=True):
                image = paint_number(shown, stream.height, stream.width)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    assert frame_times(path) == pytest.approx([k / 25 for k in range(20)], abs=2e-3)
    with VideoReader(path) as reader:
        assert (reader.num_frames, reader.height, reader.width, reader.fps) == (20, 48, 64, 25)
        assert read_numbers(reader.read([19, 3, 0])) == [19, 3, 0]


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this build of FFmpeg writes no HEVC")
def test_short_hevc_groups_near_the_end_then_back(tmp_path: Path, read_numbers: ReadNumbers) -> None:
    options = {"x265-params": "log-level=0:keyint=3:min-keyint=3:pools=none"}
    path = write_video(tmp_path / "x.mp4", painted(40), "libx265", **options)
    with VideoReader(path) as reader:
        for number in (38, 39, 1, 37, 36, 0, 35, 2, 20):
            assert read_numbers(reader.read([number])) == [number]
