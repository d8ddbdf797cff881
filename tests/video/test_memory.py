"""Tests of videos in memory: bytes and frames in every layout."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from video_fixtures import KINDS, MakeVideo, ReadNumbers, paint_number

from videozoo.data import VideoError, VideoReader
from videozoo.video.sequential_reader import WholeVideo

NAME = Path("<it>")


@pytest.mark.parametrize("name", KINDS)
def test_bytes_are_read_as_their_file(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / name, num_frames=24, **KINDS[name])
    for data in (path.read_bytes(), path.read_bytes()[: path.stat().st_size * 2 // 3]):
        path.write_bytes(data)
        found: list[Any] = []
        for options in ({}, {"content": data}):
            try:
                with VideoReader(path if not options else NAME, **options) as reader:
                    order = [5, 0, reader.num_frames - 1, 5]
                    frames = reader.read(order)
                    found.append((reader.num_frames, round(reader.fps, 3), reader.note, frames.numpy().tobytes()))
            except (VideoError, IndexError) as error:
                found.append(str(error).replace(str(path), str(NAME)))
        assert found[0] == found[1]


def test_a_whole_video_of_bytes_and_of_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "x.mp4", num_frames=6)
    for content in (None, path.read_bytes()):
        with WholeVideo(path if content is None else NAME, content=content) as video:
            assert [round(frame.time or 0, 2) for frame in video.frames()] == [0, 0.04, 0.08, 0.12, 0.16, 0.2]
    with WholeVideo(NAME, content=np.zeros((3, 8, 8, 3), np.uint8)) as video:
        assert len(list(video.frames())) == 3


def test_frames_of_every_layout(read_numbers: ReadNumbers) -> None:
    array = np.stack([paint_number(number, 48, 64) for number in range(6)])
    tensor = torch.from_numpy(array)
    first = array.transpose(0, 3, 1, 2)
    pictures = [Image.fromarray(image) for image in array]
    for content in (array, first, tensor, tensor.permute(0, 3, 1, 2), list(array), list(first), list(tensor), pictures):
        with VideoReader(NAME, content=content) as reader:
            assert (reader.num_frames, reader.height, reader.width, reader.fps, reader.note) == (6, 48, 64, 0.0, "")
            assert read_numbers(reader.read([3, 0, 5, 3])) == [3, 0, 5, 3]
            with pytest.raises(IndexError, match="which has 6 frames"):
                reader.read([6])
    with VideoReader(NAME, content=array, frame_range=(2, 5)) as reader:
        assert read_numbers(reader.read([0, 2])) == [2, 4]


def test_pillows_images_lose_their_alpha_and_are_turned_upright() -> None:
    with Image.new("RGBA", (8, 6), (9, 8, 7, 0)) as image, VideoReader(NAME, content=[image]) as reader:
        assert reader.read([0])[0, :, 0, 0].tolist() == [9, 8, 7]
        assert reader.note == "it has one frame only, like a still picture"
    stored = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(stored, "jpeg", exif=exif)
    with Image.open(stored) as image, VideoReader(NAME, content=[image]) as reader:
        assert (reader.height, reader.width) == (8, 6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"no video", "not a video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n", "not a video"),
        (np.zeros((2, 8, 8, 3)), "frames are float64 .* needed is uint8 .*values 0 to 255"),
        (torch.zeros(2, 3, 8, 8), "frames are float32"),
        (np.zeros((8, 8), np.uint8), r"frames are uint8 \(8, 8\); needed is uint8 \(T, H, W, 3\) or \(T, 3, H, W\)$"),
        (np.zeros((8, 8, 3), np.uint8), r"give frames\[None\]"),
        (np.zeros((1, 2, 8, 8, 3), np.uint8), "several videos as a list"),
        (np.zeros((2, 8, 8, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((2, 8, 8, 1), np.uint8), "needed is uint8"),
        (np.zeros((2, 3, 8, 3), np.uint8), "cannot be told"),
        (np.zeros((0, 8, 8, 3), np.uint8), "there are no frames"),
        (np.zeros((2, 0, 8, 3), np.uint8), "frames are empty"),
        ([], "there are no frames"),
        ([np.zeros((8, 8), np.uint8)], r"frame 0 is uint8 \(8, 8\); needed is uint8 \(H, W, 3\) or \(3, H, W\)"),
        (["a.jpg"], "frame 0 is a str"),
        (Image.new("RGB", (8, 8)), "a single Image is no video"),
        ([Image.new("F", (8, 8))], "frame 0 cannot be read .*floating-point"),
        (np.broadcast_to(np.uint8(0), (1, 9000, 9000, 3)), "its frames are 9000x9000"),
    ],
)
def test_objects_that_are_no_video(content: Any, reason: str) -> None:
    with pytest.raises(VideoError, match=f"^<it>: .*{reason}"):
        VideoReader(NAME, content=content)


def test_frames_of_two_sizes_and_parts_in_seconds() -> None:
    with (
        VideoReader(NAME, content=[np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)]) as reader,
        pytest.raises(VideoError, match="frame 1 is 6x8, the first one is 8x8"),
    ):
        reader.read([0, 1])
    with pytest.raises(VideoError, match="frames in memory have no times"):
        VideoReader(NAME, content=np.zeros((2, 8, 8, 3), np.uint8), span_sec=(0, 1))
