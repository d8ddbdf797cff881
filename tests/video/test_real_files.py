"""Tests of files from cameras, phones and tools."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps
from video_fixtures import MakeVideo

from videozoo.data import (
    VideoDataset,
    VideoError,
    VideoReader,
    VideoRecord,
    create_transform,
    load_source,
    read_frames,
)
from videozoo.data.files import subfolders, videos_by_stem
from videozoo.jobs.check import check_video
from videozoo.jobs.reencode import reencode
from videozoo.video.av_stream import AvStream
from videozoo.video.frame_times import frame_times
from videozoo.video.live import file_frames
from videozoo.video.to_rgb import UprightRgb

# FFmpeg 8 gives the EXIF of a photo with its frame, as a kind of side data that PyAV has no name for.
gives_exif = pytest.mark.skipif(av.library_versions["libavcodec"] < (62,), reason="FFmpeg before 8 ignores EXIF")


def _photo(orientation: int) -> bytes:
    image = Image.fromarray(np.add.outer(np.arange(48) * 2, np.arange(64)).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    data = io.BytesIO()
    image.save(data, "JPEG", exif=exif, quality=95)
    return data.getvalue()


@gives_exif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_in_a_video_are_upright(orientation: int, tmp_path: Path) -> None:
    path, photo = tmp_path / "x.mov", _photo(orientation)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(3):
            packet = av.Packet(photo)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 8)
            container.mux(packet)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")).astype(int)
    frames = read_frames(path, [0, 2]).permute(0, 2, 3, 1).numpy().astype(int)
    assert frames.shape == (2, *upright.shape)
    assert abs(frames - upright).max() < 4
    finding = check_video(VideoRecord(path, 0, ""))
    assert (finding.frames, finding.width, finding.height, finding.error) == (3, *upright.shape[1::-1], "")
    assert next(file_frames(path, 25.0)).image.shape == (3, *upright.shape[:2])


@pytest.mark.parametrize("error", [ValueError("29 is not\na valid: Type"), MemoryError(), RecursionError("too deep")])
def test_every_failure_is_an_error_of_the_file(
    error: Exception, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "x.mp4")
    record = VideoRecord(path, 0, "train.txt:1")
    dataset = VideoDataset([record], create_transform((3, 32, 32)), num_frames=2, on_broken="report")
    with VideoReader(path) as reader:

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(AvStream, "packets", fail)
        monkeypatch.setattr(AvStream, "seek", fail)
        wanted = rf"x\.mp4: reading it failed \({type(error).__name__}, "
        with pytest.raises(VideoError, match=wanted):
            reader.read([0])
    for use in (VideoReader, frame_times, lambda path: list(file_frames(path, 4.0))):
        with pytest.raises(VideoError, match=wanted):
            use(path)
    with pytest.raises(VideoError, match=wanted):
        reencode(record, tmp_path / "y.mp4", short_side=32, gop=4)
    assert "reading it failed" in check_video(record).error
    assert "reading it failed" in dataset[0]["broken"][0][1]


def test_every_failure_of_an_image_is_an_error_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    with VideoReader(tmp_path) as reader:
        monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: 1 / 0)
        with pytest.raises(VideoError, match=r"image 0\.png cannot be read"):
            reader.read([0])


def _save_images(folder: Path, image: Image.Image, ending: str) -> Path:
    folder.mkdir()
    image.save(folder / f"0{ending}")
    return folder


RAMP = np.linspace(0, 1, 48 * 64).reshape(48, 64)
GRAY_8 = Image.fromarray((RAMP * 255).round().astype(np.uint8))
GRAY_16 = (RAMP * 65535).round().astype(np.uint16)


@pytest.mark.parametrize(
    ("image", "ending"),
    [
        (Image.fromarray(GRAY_16), ".png"),
        (Image.fromarray(GRAY_16), ".tif"),
        (Image.fromarray(GRAY_16.astype(">u2")), ".tif"),
        (Image.fromarray(GRAY_16.astype(np.int32)), ".pgm"),
        (GRAY_8.convert("LA"), ".png"),
        (GRAY_8.convert("P"), ".png"),
        (GRAY_8.convert("CMYK"), ".tif"),
        (GRAY_8.convert("RGBA"), ".png"),
    ],
)
def test_no_kind_of_pixels_is_clipped(image: Image.Image, ending: str, tmp_path: Path) -> None:
    frame = read_frames(_save_images(tmp_path / "x", image, ending), [0])[0].numpy()
    assert abs(frame - 255 * RAMP).max() <= 1


def test_black_and_white_and_16_bit_images_that_are_turned(tmp_path: Path) -> None:
    frame = read_frames(_save_images(tmp_path / "x", Image.fromarray(GRAY_16 > 32767), ".png"), [0])
    assert frame.unique().tolist() == [0, 255]
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "y").mkdir()
    Image.fromarray(GRAY_16).save(tmp_path / "y" / "0.png", exif=exif)
    frame = read_frames(tmp_path / "y", [0])[0, 0]
    assert abs(frame.numpy() - 255 * np.rot90(RAMP, -1)).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(RAMP.astype(np.float32), "floating-point numbers"), (GRAY_16.astype(np.int32) * 1000, "32-bit integers")],
)
def test_pixels_of_unknown_range_are_refused(pixels: np.ndarray, reason: str, tmp_path: Path) -> None:
    folder = _save_images(tmp_path / "x", Image.fromarray(pixels), ".tif")
    with pytest.raises(VideoError, match=rf"image 0\.tif cannot be read .*{reason}"):
        read_frames(folder, [0])


def test_frames_of_floating_point_numbers_are_refused() -> None:
    frame = av.VideoFrame.from_ndarray(4 * RAMP.astype(np.float32), format="grayf32le")
    with pytest.raises(VideoError, match="floating-point numbers"):
        UprightRgb(Path("x.nut"), frame)(frame)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_gray_of_any_depth_is_scaled(bits: int) -> None:
    frame = av.VideoFrame.from_ndarray((RAMP * (2**bits - 1)).astype(np.uint16), format=f"gray{bits}le")
    assert abs(UprightRgb(Path("x.mkv"), frame)(frame) - 255 * RAMP[..., None]).max() < 2


def test_class_folders_read_or_name_every_file(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a" / "x.mp4")
    for name in ("a/x.h264", "a/x.APNG", "b/x.dv", "b/x.rm", "b/x.m4s", "b/x.ogm", "b/x.webp", "b/x.txt", "stray.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(video.read_bytes())
    (tmp_path / "b" / "empty").mkdir()
    source = load_source(tmp_path)
    names = ["a/x.APNG", "a/x.h264", "a/x.mp4", "b/x.dv", "b/x.m4s", "b/x.ogm", "b/x.rm"]
    assert [record.name for record in source.records] == names
    assert len(source.warnings) == 1
    assert source.warnings[0].startswith(f"{tmp_path}: 4 left out, neither videos")
    assert source.warnings[0].endswith(": stray.mp4, b/empty, b/x.txt, b/x.webp")


def test_a_circular_link_hides_no_files(tmp_path: Path, make_video: MakeVideo) -> None:
    for folder in ("", "a", "a/b"):
        make_video(tmp_path / folder / "x1.mp4")
        (tmp_path / folder / "loop").symlink_to("loop")
    assert sorted(videos_by_stem(tmp_path, ["", "a"])) == ["a", "b", "x1"]
    assert subfolders(tmp_path, "") == ["a"]
    images = _save_images(tmp_path / "c", GRAY_8, ".png")
    (images / "1.png").symlink_to("1.png")
    with pytest.raises(VideoError, match=r"image 1\.png cannot be read"):
        read_frames(images, [1])
