"""Fixtures of videos with their frame number painted in the pixels, and tiny weights."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videozoo import Predictor
from videozoo.data import VideoDataset, VideoError, VideoSource, create_transform, open_record
from videozoo.data.motions import write_motions

MakeVideo = Callable[..., Path]
MakeFrames = Callable[..., None]
ReadNumbers = Callable[[Tensor], list[int]]
Shown = Callable[[VideoSource], list[tuple[str, str, list[int]]]]

# Codecs and containers that data sets have, as options of ``make_video`` by the names of files.
KINDS = {
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4_bframes.avi": {"codec": "mpeg4", "bf": "2"},
    "h264.mp4": {"codec": "libx264"},
    "h264_bframes.mkv": {"codec": "libx264", "x264-params": "bframes=3:b-adapt=0"},
    "h264_open_gop.mp4": {"codec": "libx264", "x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=6:min-keyint=6"},
    "h264_refresh.mp4": {"codec": "libx264", "x264-params": "intra-refresh=1:keyint=6:bframes=0"},
    "h264.ts": {"codec": "libx264", "x264-params": "bframes=2:keyint=6"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "lossless.mkv": {"codec": "ffv1"},
    "vp9.webm": {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
    "gif.gif": {"codec": "gif"},
}
BITS = 8
MODEL = "test_dnr_tsn.motions"


def paint_number(number: int, height: int, width: int) -> np.ndarray:
    """Return an RGB image of BITS vertical bars, black for 0 and white for 1, the lowest bit on the left."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8), width // BITS)
    return np.broadcast_to(row[None, :, None], (height, row.size, 3)).copy()


@pytest.fixture(scope="session")
def read_numbers() -> ReadNumbers:
    """Return the numbers painted in uint8 frames (N, 3, H, W)."""

    def read(frames: Tensor) -> list[int]:
        bars = frames.float().mean((1, 2)).reshape(len(frames), BITS, -1).mean(-1) > 127
        return [sum(int(bar) << bit for bit, bar in enumerate(row)) for row in bars.tolist()]

    return read


@pytest.fixture(scope="session")
def video_error() -> Callable[..., VideoError]:
    """Return the VideoError that a loader raises, without its traceback, which would keep the workers alive."""

    def catch(dataset: Dataset[Any], num_workers: int) -> VideoError:
        try:
            list(DataLoader(dataset, num_workers=num_workers))
        except VideoError as error:
            return error.with_traceback(None)
        raise AssertionError("no VideoError came")

    return catch


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    codec: str,
    rate: int = 25,
    *,
    start: int = 0,
    pts: list[int] | None = None,
    gop: int | None = None,
    bit_rate: int | None = None,
    pix_fmt: str = "yuv420p",
    muxer: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write images as a video that starts at second ``start``. ``pts`` are their times in 1/100 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        if gop is not None:
            stream.codec_context.gop_size = gop
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = Fraction(1, 100) if pts else Fraction(1, rate)
            frame.pts = pts[number] if pts else start * rate + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_gray_video(path: Path, codec: str) -> Path:
    """Write twenty frames at 20 per second. Frame k has the gray value 10 k."""
    return write_video(path, (np.full((48, 64, 3), 10 * k, np.uint8) for k in range(20)), codec, 20)


def copy_packets(
    source: Path,
    target: Path,
    change: Callable[[int, Packet], Packet] = lambda number, packet: packet,
    unit: Fraction | None = None,
    **options: str,
) -> Path:
    """Write the packets of a video into another container, each changed by ``change``."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        if unit is not None:
            stream.time_base = unit
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            changed = change(number, packet)
            changed.stream = stream
            new.mux(changed)
    return target


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """Function that writes ``num_frames`` painted frames at 25 per second, or at the times ``pts`` in 1/100 s."""

    def make(
        path: Path,
        num_frames: int = 12,
        codec: str = "mpeg4",
        size: tuple[int, int] = (48, 64),
        gop: int = 6,
        pts: list[int] | None = None,
        pix_fmt: str | None = None,
        **options: str,
    ) -> Path:
        return write_video(
            path,
            (paint_number(number, *size) for number in range(num_frames)),
            codec,
            pts=pts or [4 * number for number in range(num_frames)],
            gop=gop,
            bit_rate=1_000_000 if codec == "mpeg4" else None,
            pix_fmt=pix_fmt or ("rgb8" if codec == "gif" else "yuv420p"),
            muxer={"movflags": options.pop("movflags")} if "movflags" in options else None,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def make_frames() -> MakeFrames:
    """Function that writes images, named from 1 on, that show ``numbers``."""

    def make(folder: Path, numbers: range, pattern: str = "{:05d}.jpg") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for place, number in enumerate(numbers, 1):
            Image.fromarray(paint_number(number, 48, 64)).save(folder / pattern.format(place), quality=95)

    return make


@pytest.fixture
def shown(read_numbers: ReadNumbers) -> Shown:
    """Return name, class and first and last painted number of each video, and read a clip of each."""

    def look(source: VideoSource) -> list[tuple[str, str, list[int]]]:
        transform = create_transform(input_size=(3, 32, 32))
        dataset = VideoDataset(source.records, transform, num_frames=2)
        found = []
        for index, record in enumerate(source.records):
            item: dict[str, Any] = dataset[index]
            assert item["label"] == record.label
            assert item["video"].shape == (1, 3, 2, 32, 32)
            with open_record(record) as reader:
                frames = reader.read([0, reader.num_frames - 1])
            found.append((record.name, source.class_names[record.label], read_numbers(frames)))
        return found

    return look


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve readable files."""
    root = write_motions(
        tmp_path_factory.mktemp("inference") / "motions",
        clips_per_class=1,
        val_clips_per_class=1,
        size=32,
        num_frames=8,
    )
    return sorted(root.rglob("*.mp4"))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(MODEL, device="cpu", batch_size=2)
