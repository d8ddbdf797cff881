"""Tests of folders of images as videos."""

from pathlib import Path

import pytest
from PIL import Image
from video_fixtures import ReadNumbers, paint_number

from videozoo.video import VideoError, VideoReader, read_frames


def _paint_folder(folder: Path, numbers: list[int], pattern: str = "img_{}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(paint_number(number, 48, 64)).save(folder / pattern.format(number))
    return folder


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "bmp"])
def test_folder_of_images_in_natural_order(ending: str, tmp_path: Path, read_numbers: ReadNumbers) -> None:
    folder = _paint_folder(tmp_path / "clip", [1, 2, 9, 10, 11, 100], "img_{}." + ending)
    (folder / ".hidden.png").write_text("")
    (folder / "notes.txt").write_text("")
    with VideoReader(folder) as reader:
        assert (reader.num_frames, reader.height, reader.width, reader.fps) == (6, 48, 64, 0.0)
        assert read_numbers(reader.read([0, 1, 2, 3, 4, 5, 0])) == [1, 2, 9, 10, 11, 100, 1]
        with pytest.raises(IndexError, match="has 6 frames"):
            reader.read([6])


def test_folder_faults_name_the_image(tmp_path: Path) -> None:
    folder = _paint_folder(tmp_path / "clip", [1, 2, 3])
    Image.new("RGB", (20, 10)).save(folder / "img_2.png")
    (folder / "img_3.png").write_bytes(b"no image")
    with VideoReader(folder) as reader:
        with pytest.raises(VideoError, match=r"img_2\.png is 20x10, the first one is 64x48"):
            reader.read([1])
        with pytest.raises(VideoError, match=r"img_3\.png cannot be read"):
            reader.read([2])
    (folder / "img_1.png").write_bytes(b"")
    with pytest.raises(VideoError, match=r"img_1\.png cannot be read"):
        VideoReader(folder)


def test_gray_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for name, mode in [("a", "L"), ("b", "RGBA"), ("c", "P"), ("d", "1")]:
        Image.new(mode, (8, 6)).save(tmp_path / f"{name}.png")
    assert read_frames(tmp_path, range(4)).shape == (4, 3, 6, 8)
