"""Files as cameras, phones and tools write them; whatever a file does to a decoder costs that file alone."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from videozoo.data import VideoDataset, VideoError, VideoReader, VideoRecord, create_transform, read_frames
from videozoo.data.av_stream import AvStream
from videozoo.data.check import check_video
from videozoo.data.frame_times import frame_times
from videozoo.data.live import file_frames
from videozoo.data.reencode import reencode

MakeVideo = Callable[..., Path]

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
def test_whatever_goes_wrong_is_an_error_of_the_file(
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


def test_whatever_goes_wrong_with_an_image_is_an_error_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    with VideoReader(tmp_path) as reader:
        monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: 1 / 0)
        with pytest.raises(VideoError, match="image 0.png cannot be read"):
            reader.read([0])
